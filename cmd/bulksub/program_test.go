package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

// program runs the real program against a stand-in that can do something to it
// at a call of its choice.
type program struct {
	t       *testing.T
	service *iidtest.Running
	login   string
	running atomic.Pointer[exec.Cmd]
	atCall  atomic.Int64 // the call at which act is due; 0: none
	act     func(*exec.Cmd)
	calls   atomic.Int64
}

func newProgram(t *testing.T) *program {
	p := &program{t: t}
	service, err := iidtest.Start(iidtest.Config{Fates: scriptFate, OnCall: p.onCall})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	p.service, p.login = service, filepath.Join(t.TempDir(), "service-account.json")
	if err := os.WriteFile(p.login, service.CredentialsJSON(service.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// onCall runs when a call has been applied, and before it is answered.
func (p *program) onCall(c iidtest.Call) {
	if c.Endpoint != "token" && p.calls.Add(1) == p.atCall.Load() {
		p.act(p.running.Load())
	}
}

// at has something done to the program at its nth call from now.
func (p *program) at(n int64, act func(*exec.Cmd)) {
	p.calls.Store(0)
	p.act = act
	p.atCall.Store(n)
}

// run runs the program and returns its exit code (-1: killed) and its summary.
func (p *program) run(args ...string) (int, summary) {
	p.t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.Command("bulksub", append(args, "--json", "--quiet", "--endpoint", p.service.URL, "--credentials", p.login)...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	p.running.Store(cmd)
	err := cmd.Run()
	if exited, ok := errors.AsType[*exec.ExitError](err); !ok && err != nil {
		p.t.Fatal(err)
	} else if ok && exited.ExitCode() == exitBug {
		p.t.Fatalf("%s", stderr.Bytes())
	}
	var s summary
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &s); err != nil {
			p.t.Fatalf("%v: %s", err, out.Bytes())
		}
	}
	return cmd.ProcessState.ExitCode(), s
}

// writeTokens writes a CSV of the first n tokens.
func writeTokens(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("token\n")
	for i := range n {
		b.WriteString(iidtest.Token(1, i) + "\n")
	}
	path := filepath.Join(t.TempDir(), "tokens.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// place is where results go.
type place struct {
	args    []string
	results func() []string // lines of row, token and status
}

// places are the two sinks.
func places(t *testing.T) map[string]place {
	file := filepath.Join(t.TempDir(), "results.csv")
	url := pgtest.URL(t)
	return map[string]place{
		"csv":      {[]string{"--results", file}, func() []string { return csvLines(t, file) }},
		"postgres": {[]string{"--database-url", url, "--job", "it"}, func() []string { return sqlLines(t, url) }},
	}
}

func csvLines(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range records[1:] {
		lines = append(lines, strings.Join([]string{r[0], r[1], r[3]}, ","))
	}
	return lines
}

func sqlLines(t *testing.T, url string) []string {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, _ := conn.Query(context.Background(), "select concat_ws(',', row_key, token, status) from bulksub.results")
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// wantResults compares results with the oracle, and the stand-in's subscribers
// with both.
func (p *program) wantResults(topic string, got []string, n int) {
	p.t.Helper()
	var want, live []string
	for i := range n {
		token := iidtest.Token(1, i)
		status, _ := expected(token)
		want = append(want, fmt.Sprintf("%d,%s,%s", i+1, token, status))
		if status == "ok" {
			live = append(live, token)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	slices.Sort(live)
	if diff := firstDifference(got, want); diff != "" {
		p.t.Errorf("results: %s", diff)
	}
	if diff := firstDifference(p.service.Subscribers(topic), live); diff != "" {
		p.t.Errorf("subscribers: %s", diff)
	}
}
