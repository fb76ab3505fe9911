package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

// program runs the real program against a stand-in that can do something to it
// at a call of its choice.
type program struct {
	t       *testing.T
	binary  string
	service *iidtest.Running
	login   string
	started chan *os.Process // those that run
	atCall  atomic.Int64     // the call at which act is due; 0: none
	act     func(*os.Process)
	calls   atomic.Int64
	watch   atomic.Pointer[func()] // called at every call, if set
	// joins and leaves, if set, are told of processes.
	joins, leaves func(*os.Process)
}

func newProgram(t *testing.T, fates iidtest.Fates) *program {
	p := &program{t: t, binary: "bulksub", started: make(chan *os.Process, 64)}
	service, err := iidtest.Start(iidtest.Config{Fates: fates, OnCall: p.onCall})
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
	if c.Endpoint == "token" {
		return
	}
	if watch := p.watch.Load(); watch != nil {
		(*watch)()
	}
	if p.calls.Add(1) == p.atCall.Load() {
		p.act(<-p.started)
	}
}

// each has something done at every call.
func (p *program) each(do func()) { p.watch.Store(&do) }

// at has something done to the program at its nth call from now.
func (p *program) at(n int64, act func(*os.Process)) {
	p.calls.Store(0)
	p.act = act
	p.atCall.Store(n)
}

// killed runs the program over and over and kills it, each time at a call that at
// draws, if it gets so far. It returns how many runs were killed, at least half of them.
func (p *program) killed(runs int, at func() int64, args ...string) (killed int) {
	p.t.Helper()
	for range runs {
		p.at(at(), func(it *os.Process) { it.Kill() })
		if code, _ := p.run(args...); code == -1 {
			killed++
		}
	}
	if killed < runs/2 {
		p.t.Fatalf("only %d of %d runs were killed: this proves nothing", killed, runs)
	}
	p.at(0, nil)
	return killed
}

// run runs the program and returns its exit code (-1: killed) and its summary.
func (p *program) run(args ...string) (int, summary) {
	p.t.Helper()
	return p.heard(io.Discard, slices.Concat(args, []string{"--quiet"})...)
}

// heard is [program.run] with what the program says on the way.
func (p *program) heard(said io.Writer, args ...string) (int, summary) {
	p.t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.Command(p.binary, slices.Concat(args, []string{"--json", "--endpoint", p.service.URL, "--credentials", p.login})...)
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&stderr, said)
	cmd.Env = append(os.Environ(), "GORACE="+raceExitsAtOnce)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.started <- cmd.Process
	if p.joins != nil {
		p.joins(cmd.Process)
		defer p.leaves(cmd.Process)
	}
	err := cmd.Wait()
	select {
	case <-p.started: // nothing was done to it
	default:
	}
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

func fillTable(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), "create table users (id bigint primary key, token text)"); err != nil {
		t.Fatal(err)
	}
	_, err := pool.CopyFrom(t.Context(), pgx.Identifier{"users"}, []string{"id", "token"}, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		return []any{int64(i + 1), iidtest.Token(1, i)}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
}

// place is a way from tokens to results.
type place struct {
	args    []string
	results func() ([]string, error)
}

// places are the three ways: CSV to CSV, CSV to Postgres, Postgres to Postgres,
// for the first n tokens.
func places(t *testing.T, n int) map[string]place {
	tokens, file := writeTokens(t, n), filepath.Join(t.TempDir(), "results.csv")
	pool := pgtest.New(t)
	fillTable(t, pool, n)
	return map[string]place{
		"csv": {[]string{"--csv", tokens, "--results", file}, func() ([]string, error) {
			f, err := os.Open(file)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			return csvLines(f)
		}},
		"ledger": {[]string{"--csv", tokens, "--database-url", pool.Config().ConnString(), "--job", "it"}, func() ([]string, error) {
			return sqlLines(pool, "it")
		}},
		"table": {[]string{"--table", "users", "--database-url", pool.Config().ConnString(), "--job", "users"}, func() ([]string, error) {
			return sqlLines(pool, "users")
		}},
	}
}

// wantResults compares results with the oracle, and the stand-in's subscribers
// with both.
func (p *program) wantResults(topic string, to place, n int) {
	p.t.Helper()
	got, err := to.results()
	if err != nil {
		p.t.Fatal(err)
	}
	if diff := disagreement(p.service, topic, got, n); diff != "" {
		p.t.Error(diff)
	}
}
