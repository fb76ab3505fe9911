package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// TestScripts runs the program as a user would, by the scripts in
// testdata/script. Each script has a stand-in service of its own. Those whose names begin
// with both_ run twice, by each API; those that are pooled a second time, through a
// PgBouncer (F20).
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no scripts", err)
	}
	for _, file := range files {
		name, apis := strings.TrimSuffix(filepath.Base(file), ".txtar"), []string{""}
		if strings.HasPrefix(name, "both_") {
			apis = []string{apiIID, apiFCM}
		}
		for _, api := range apis {
			t.Run(name+api, func(t *testing.T) {
				t.Parallel()
				s := newScript(t)
				s.api = api
				s.run(file)
			})
		}
		if !slices.Contains(pooled, name) {
			continue
		}
		t.Run(name+" through PgBouncer", func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			s.pooled = true
			s.run(file)
		})
	}
}

// pooled are the scripts that do most with the ledger.
var pooled = []string{"both_apis", "import_postgres", "jobs", "postgres", "resume", "sync"}

func (s *script) run(file string) {
	testscript.Run(s.t, testscript.Params{Files: []string{file}, Setup: s.setUp, Cmds: s.commands(), RequireExplicitExec: true})
}

// script is what a script can talk to besides the program.
type script struct {
	t       *testing.T
	service *iidtest.Running
	pool    *pgxpool.Pool
	api     string // the one that BULKSUB_API names
	pooled  bool   // DATABASE_URL leads through a PgBouncer
}

// scriptMix is what the stand-in knows of tokens that look real, and so the
// oracle.
var scriptMix = trial.Mixed

// scriptFate lets other tokens say themselves what becomes of them.
func scriptFate(token string) iidtest.Fate {
	word, _, _ := strings.Cut(token, "-")
	switch {
	case strings.HasPrefix(token, "https:"):
		return iidtest.Live
	case strings.Contains(token, ":"):
		return scriptMix.Fate(token)
	case len(token) == 64:
		return apnsFates[token[:2]]
	case word == "denied":
		return iidtest.OtherProject
	case word == "dead":
		return iidtest.Dead
	case word == "poison":
		return iidtest.Poison
	default:
		return iidtest.Live
	}
}

func newScript(t *testing.T) *script {
	service, err := iidtest.Start(iidtest.Config{Fates: scriptFate, Import: iidtest.Import{Apps: scriptApps}, ServerKey: "legacy-key", Web: scriptWeb})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	return &script{t: t, service: service}
}

// setUp gives the program the stand-in's address and a credential for it.
func (s *script) setUp(env *testscript.Env) error {
	credentials := filepath.Join(env.WorkDir, "service-account.json")
	env.Setenv("BULKSUB_ENDPOINT", s.service.URL)
	env.Setenv("BULKSUB_API", s.api)
	env.Setenv("GOOGLE_APPLICATION_CREDENTIALS", credentials)
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("GORACE", raceExitsAtOnce)
	return os.WriteFile(credentials, s.service.CredentialsJSON(s.service.URL), 0o600)
}

func (s *script) commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"database":   s.database,
		"tokens":     s.tokens,
		"table":      s.table,
		"service":    s.serve,
		"subscribed": s.subscribed,
		"called":     s.called,
		"sql":        s.sql,
		"oracle":     s.oracle,
		"topics":     s.topics,
		"agrees":     s.agrees,
		"apns":       s.apns,
		"imported":   s.imported,
		"exits":      s.exits,
		"bytes":      s.bytes,
		"pushes":     s.pushes,
		"pushed":     s.pushed,
	}
}

// database gives the script a fresh database; `database empty` one without the
// ledger's tables.
func (s *script) database(ts *testscript.TestScript, _ bool, args []string) {
	url := pgtest.Empty
	if len(args) == 0 {
		url = pgtest.URL
	}
	address := url(s.t)
	pool, err := pgxpool.New(context.Background(), address)
	ts.Check(err)
	ts.Defer(pool.Close)
	s.pool = pool
	if s.pooled {
		pooler := pgtest.NewPooler(s.t, address, "")
		ts.Defer(func() {
			if pooler.Clients(s.t) == 0 {
				s.t.Error("no client came to PgBouncer: this proves nothing")
			}
		})
		address = pooler.URL(pool.Config().ConnConfig.Database)
	}
	ts.Setenv("DATABASE_URL", address)
}

// tokens writes a CSV of tokens: `tokens FILE N`, with TOKEN in row 701:
// `tokens FILE N TOKEN`, or of N that begin alike: `tokens FILE N WORD-`.
func (s *script) tokens(ts *testscript.TestScript, _ bool, args []string) {
	var b strings.Builder
	b.WriteString("user,token\n")
	for i := range number(ts, args[1]) {
		token := iidtest.Token(1, i)
		switch {
		case len(args) < 3:
		case strings.HasSuffix(args[2], "-"):
			token = args[2] + strconv.Itoa(i)
		case i == 700:
			token = args[2]
		}
		fmt.Fprintf(&b, "%d,%s\n", i+1, token)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// table makes a table of tokens: `table NAME N`.
func (s *script) table(ts *testscript.TestScript, _ bool, args []string) {
	_, err := s.pool.Exec(context.Background(), "create table "+args[0]+" (id bigint primary key, token text, name text, pruned_at timestamptz)")
	ts.Check(err)
	var tokens []string
	for i := range number(ts, args[1]) {
		tokens = append(tokens, iidtest.Token(1, i))
	}
	_, err = s.pool.Exec(context.Background(),
		"insert into "+args[0]+" select n, token, 'user ' || n from unnest($1::text[]) with ordinality as t (token, n)", tokens)
	ts.Check(err)
}

// serve changes the stand-in: `service FAULT...`, none for a healthy one.
func (s *script) serve(ts *testscript.TestScript, _ bool, args []string) {
	var plans []iidtest.Plan
	for _, text := range args {
		plan, err := iidtest.ParseFault(text)
		ts.Check(err)
		plans = append(plans, plan)
	}
	s.service.SetFaults(plans...)
}

// subscribed compares the subscribers of a topic: `subscribed TOPIC N`.
func (s *script) subscribed(ts *testscript.TestScript, _ bool, args []string) {
	if got, want := s.service.Count(args[0]), number(ts, args[1]); got != want {
		ts.Fatalf("%d are subscribed to %s, want %d", got, args[0], want)
	}
}

// called compares how often an endpoint was called: `called ENDPOINT N`.
func (s *script) called(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for _, call := range s.service.Calls() {
		if call.Endpoint == args[0] {
			n++
		}
	}
	if n != number(ts, args[1]) {
		ts.Fatalf("%s was called %d times, want %s", args[0], n, args[1])
	}
}

// sql compares the first column of a query's rows, joined by spaces:
// `sql QUERY WANT`.
func (s *script) sql(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 1 {
		_, err := s.pool.Exec(context.Background(), args[0])
		ts.Check(err)
		return
	}
	rows, err := s.pool.Query(context.Background(), args[0])
	ts.Check(err)
	defer rows.Close()
	var got []string
	for rows.Next() {
		values, err := rows.Values()
		ts.Check(err)
		got = append(got, fmt.Sprint(values[0]))
	}
	ts.Check(rows.Err())
	if line := strings.Join(got, " "); line != args[1] {
		ts.Fatalf("%s: got %s, want %s", args[0], line, args[1])
	}
}

// topics writes tokens with one of K topics each, and none in every thousandth
// row, into a CSV or a table: `topics csv FILE N K` or `topics sql TABLE N K`.
func (s *script) topics(ts *testscript.TestScript, _ bool, args []string) {
	rows := [][]any{}
	for i := range number(ts, args[2]) {
		topic := fmt.Sprintf("topic-%d", i*31%number(ts, args[3]))
		if i%1000 == 999 {
			topic = ""
		}
		rows = append(rows, []any{int64(i + 1), topic, iidtest.Token(1, i)})
	}
	if args[0] == "sql" {
		_, err := s.pool.Exec(context.Background(), "create table "+args[1]+" (id bigint primary key, topic text, token text)")
		ts.Check(err)
		_, err = s.pool.CopyFrom(context.Background(), pgx.Identifier{args[1]}, []string{"id", "topic", "token"}, pgx.CopyFromRows(rows))
		ts.Check(err)
		return
	}
	var b strings.Builder
	b.WriteString("id,topic,token\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "%d,%s,%s\n", row...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(b.String()), 0o600))
}

// results reads results: `csv FILE` or `sql JOB`.
func (s *script) results(ts *testscript.TestScript, kind, name string) []string {
	var lines []string
	var err error
	if kind == "sql" {
		lines, err = sqlLines(s.pool, name)
	} else {
		lines, err = csvLines(strings.NewReader(ts.ReadFile(name)))
	}
	ts.Check(err)
	return lines
}

// oracle compares the results of tokens 1 to N with what the stand-in knows of
// them, and the subscribers of the topic with those that are ok: `oracle csv FILE
// TOPIC N` or `oracle sql JOB TOPIC N`. With `FROM>TOPIC` they have moved from one
// topic to the other.
func (s *script) oracle(ts *testscript.TestScript, _ bool, args []string) {
	lines := s.results(ts, args[0], args[1])
	from, topic, moved := strings.Cut(args[2], ">")
	if !moved {
		topic = from
	}
	arrived(lines, from, topic)
	if diff := disagreement(s.service, topic, lines, number(ts, args[3])); diff != "" {
		ts.Fatalf("%s", diff)
	}
}

// agrees compares the subscribers of every topic in the results with the rows that
// are ok: `agrees csv FILE` or `agrees sql JOB`.
func (s *script) agrees(ts *testscript.TestScript, _ bool, args []string) {
	subscribers := map[string][]string{}
	for _, line := range s.results(ts, args[0], args[1]) {
		fields := strings.Split(line, ",")
		if fields[3] == "ok" {
			subscribers[fields[2]] = append(subscribers[fields[2]], fields[1])
		}
	}
	if len(subscribers) == 0 {
		ts.Fatalf("no row is ok")
	}
	for topic, tokens := range subscribers {
		if diff := firstDifference(s.service.Subscribers(topic), tokens); diff != "" {
			ts.Fatalf("topic %s: %s", topic, diff)
		}
	}
}

// exits runs the program and compares its exit code: `exits CODE ARG...`. What
// it wrote is there for stdout and stderr.
func (s *script) exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("bulksub", args[1:]...)
	code := 0
	if exited, ok := err.(interface{ ExitCode() int }); ok {
		code = exited.ExitCode()
	} else {
		ts.Check(err)
	}
	if leak := trial.Leak(ts.ReadFile("stdout") + ts.ReadFile("stderr")); leak != "" {
		ts.Fatalf("the program shows %s", leak)
	}
	if code != number(ts, args[0]) {
		ts.Fatalf("exit code %d, want %s\n%s%s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// bytes writes a file with Go escapes: `bytes FILE TEXT`.
func (s *script) bytes(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}
