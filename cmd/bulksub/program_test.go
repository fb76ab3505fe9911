package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// program runs the real program against a stand-in that can do something to it at a
// call of its choice ([trial.Program]), and knows its summary.
type program struct {
	*trial.Program
	t *testing.T
}

func newProgram(t *testing.T, fates iidtest.Fates) *program {
	return &program{Program: trial.New(t, iidtest.Config{Fates: fates}), t: t}
}

// run is [trial.Program.Run] with the program's own summary.
func (p *program) run(args ...string) (int, summary) {
	p.t.Helper()
	return p.heard(io.Discard, slices.Concat(args, []string{"--quiet"})...)
}

// heard is [program.run] with what the program says on the way.
func (p *program) heard(said io.Writer, args ...string) (int, summary) {
	p.t.Helper()
	code, told := p.Heard(said, args...)
	var s summary
	if len(told.Text) > 0 {
		if err := json.Unmarshal(told.Text, &s); err != nil {
			p.t.Fatal(err)
		}
	}
	return code, s
}

// onUsers is a command for the tokens of the table users.
func onUsers(command string, db *pgxpool.Pool) []string {
	return []string{command, "--topic", "news", "--table", "users", "--attempts", "2", "--database-url", db.Config().ConnString()}
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
	if diff := disagreement(p.Service, topic, got, n); diff != "" {
		p.t.Error(diff)
	}
}
