package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// floor is tokens a second of the steps alone, one after the other, and all at the same time.
type floor struct{ Out, Calls, In, After, Together float64 }

func (s *stage) floor() (f floor, err error) {
	out, err := s.role("floor", 0, s.rows).Output()
	if err == nil {
		err = json.Unmarshal(out, &f)
	}
	return f, err
}

// measureFloor moves the same bytes with nothing done to them: COPY out of the table; request bodies over a bare socket,
// each answered with as many bytes as the service would; COPY into a table of one row a token.
func measureFloor(ctx context.Context, e env) error {
	text := resultsText(e.rows)
	steps := []func() error{
		func() error { return copyOut(ctx, e.database) },
		func() error { return overSocket((e.rows + perCall - 1) / perCall) },
		func() error { return copyIn(ctx, e.database, text) },
	}
	if err := do(ctx, e.database, `truncate floor`); err != nil {
		return err
	}
	var seconds [3]float64
	for i, step := range steps {
		var err error
		if seconds[i], err = timed(step); err != nil {
			return err
		}
	}
	if err := do(ctx, e.database, `truncate floor`); err != nil {
		return err
	}
	together, err := timed(func() error {
		var group errgroup.Group
		for _, step := range steps {
			group.Go(step)
		}
		return group.Wait()
	})
	if err != nil {
		return err
	}
	rows := float64(e.rows)
	return say(floor{rows / seconds[0], rows / seconds[1], rows / seconds[2], rows / (seconds[0] + seconds[1] + seconds[2]), rows / together})
}

func timed(do func() error) (seconds float64, err error) {
	began := time.Now()
	err = do()
	return time.Since(began).Seconds(), err
}

// resultsText is what a ledger of one row a token would get, in COPY's text format.
func resultsText(rows int) []byte {
	var text bytes.Buffer
	for i := range rows {
		fmt.Fprintf(&text, "1\t%d\t%d\t%s\tbench\tok\t\\N\t1\t\\N\t\\N\n", i/50_000+1, i+1, iidtest.Token(1, i))
	}
	return text.Bytes()
}

func copyOut(ctx context.Context, url string) error {
	return with(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.PgConn().CopyTo(ctx, io.Discard, `copy bench to stdout`)
		return err
	})
}

func copyIn(ctx context.Context, url string, text []byte) error {
	return with(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(text),
			`copy floor (job_id, segment, row_key, token, topic, status, code, attempts, registration_token, detail) from stdin`)
		return err
	})
}

// Bytes of a call of 1,000 tokens, and of its reply.
const bodyBytes, replyBytes = 166_000, 3_020

func overSocket(calls int) error {
	body, reply := make([]byte, bodyBytes), make([]byte, replyBytes)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	go answer(listener)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	for range calls {
		if _, err := conn.Write(body); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, reply); err != nil {
			return err
		}
	}
	return nil
}

// answer answers the calls of one connection.
func answer(listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	reply := make([]byte, replyBytes)
	for body := make([]byte, bodyBytes); ; {
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		conn.Write(reply)
	}
}
