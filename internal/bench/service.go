package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// forget is a service to which every token is ok, in a process of its own. The stand-in remembers all tokens: that takes
// it several times as long, and the longer the more there are, on the two cores that are to be measured. It lives until its
// standard input ends.
func forget(_ context.Context, e env) error {
	bodies := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	answers := make([][]byte, perCall+1)
	for n := range answers {
		answers[n] = []byte(`{"results":[` + strings.TrimSuffix(strings.Repeat("{},", n), ",") + `]}`)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := bodies.Get().(*bytes.Buffer)
		defer bodies.Put(body)
		body.Reset()
		_, err := body.ReadFrom(r.Body)
		// {"to":"/topics/bench","registration_tokens":["…","…"]}: as many of these as tokens.
		tokens := bytes.Count(body.Bytes(), []byte(`","`))
		if err != nil || tokens >= len(answers) {
			http.Error(w, "no call that can be answered", http.StatusBadRequest)
			return
		}
		time.Sleep(e.latency)
		w.Header().Set("Content-Type", "application/json")
		w.Write(answers[tokens])
	}))
	fmt.Println(server.URL)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// firstLine starts a command that goes on after its first line of output. Its standard input ends when this process does.
func firstLine(cmd *exec.Cmd) (string, error) {
	if _, err := cmd.StdinPipe(); err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}
