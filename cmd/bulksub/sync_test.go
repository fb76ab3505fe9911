package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

// alive lets every token live: the topic is to hold exactly what is wanted.
func alive(string) iidtest.Fate { return iidtest.Live }

// wantEqual compares the topic's subscribers, what is believed of it, and what is
// wanted.
func (p *program) wantEqual(db *pgxpool.Pool, topic string) {
	p.t.Helper()
	list := func(sql string) []string {
		rows, _ := db.Query(p.t.Context(), sql)
		tokens, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			p.t.Fatal(err)
		}
		return tokens
	}
	wanted := list(`select token from users`)
	if diff := firstDifference(p.Service.Subscribers(topic), slices.Clone(wanted)); diff != "" {
		p.t.Error("subscribers: " + diff)
	}
	if diff := firstDifference(list(`select token from bulksub.subscriptions where topic = '`+topic+`'`), wanted); diff != "" {
		p.t.Error("beliefs: " + diff)
	}
}

// later ends the statements that killed processes have left, and lets the time pass in which the
// service may yet carry out what they have sent.
func (p *program) later(db *pgxpool.Pool) {
	p.t.Helper()
	_, err := db.Exec(p.t.Context(), `select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
	if err == nil {
		_, err = db.Exec(p.t.Context(), `
			with leases as (update bulksub.segments set lease_end = lease_end - interval '10 minutes'), jobs as (update bulksub.jobs set unheard_until = null)
			update bulksub.subscriptions set doubted = doubted - interval '10 minutes'`)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// A sync that is killed at any call goes on with the difference it began with, and
// in the end the service holds what the table says (P1, P2).
func TestKilledSyncGoesOn(t *testing.T) {
	t.Parallel()
	const rows, kills = 20_000, 8
	p, db := newProgram(t, alive), pgtest.New(t)
	fillTable(t, db, rows)
	args := []string{"sync", "--topic", "news", "--table", "users", "--rate", "0", "--concurrency", "2", "--max-remove", "50%", "--database-url", db.Config().ConnString()}
	change := func(sql string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, after := range []string{
		`delete from users where id <= 5000; insert into users select n, 'new-' || n from generate_series(30001, 35000) n`,
		`delete from users where id > 30000`,
	} {
		killed := 0
		for n := range kills {
			p.At(int64(1+n%3), func(it *os.Process) { it.Kill() })
			if code, _ := p.run(args...); code == -1 {
				killed++
			}
		}
		if killed < kills/2 {
			t.Fatalf("only %d of %d runs were killed: this proves nothing", killed, kills)
		}
		p.At(0, nil)
		p.later(db)
		if code, s := p.run(args...); code != 0 || s.OK != s.Rows {
			t.Fatalf("the last run ended with %d: %+v", code, s)
		}
		p.wantEqual(db, "news")
		change(after)
	}
	if code, s := p.run(args...); code != 0 || s.Rows != 5000 || s.Requests != 5 {
		t.Errorf("the last change ended with %d: %+v", code, s)
	}
	p.wantEqual(db, "news")
}

// Three processes on one sync compute one difference and send it once (P12).
func TestSyncTogether(t *testing.T) {
	t.Parallel()
	p, db := newProgram(t, alive), pgtest.New(t)
	fillTable(t, db, 120_000)
	codes := p.together(3, "sync", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--database-url", db.Config().ConnString())
	if !slices.Equal(codes, []int{0, 0, 0}) {
		t.Errorf("ended with %v", codes)
	}
	if calls := len(p.Service.Calls()); calls > 120+2*3+3 {
		t.Errorf("%d calls for 120 batches", calls)
	}
	p.wantEqual(db, "news")
	var left int
	if err := db.QueryRow(t.Context(), `select count(*) from bulksub.planned`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d planned rows are left, %v", left, err)
	}
}

func TestAge(t *testing.T) {
	for text, want := range map[string]string{
		"30d": "30d", "12h": "12h0m0s", "24h": "1d", "1.5d": "36h0m0s", "90m": "1h30m0s", " 7d": "7d",
		"30": "", "": "", "d": "", "-1d": "", "NaNd": "", "Infd": "", "1000000d": "", "2 weeks": "",
	} {
		var a age
		if err := a.Set(text); (err == nil) != (want != "") || a.String() != want {
			t.Errorf("%q is %q, %v", text, a.String(), err)
		}
	}
}

// What a command had sent and not recorded when it was killed, or when its replies were lost, is
// found by the next sync, which sends just that again.
func TestSyncAfterTrouble(t *testing.T) {
	t.Parallel()
	lost, err := iidtest.ParseFault("applied-reset")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args   []string
		atCall int64 // at which it is killed; 0: it lives, and gets no reply
	}{
		"unsubscribe":  {[]string{"unsubscribe", "--topic", "news", "--table", "users"}, 3},
		"subscribe":    {[]string{"subscribe", "--topic", "news", "--table", "strangers"}, 3},
		"topics":       {[]string{"subscribe", "--topic-column", "topic", "--query", "select id, token, 'news' as topic from strangers", "--key-column", "id"}, 3},
		"import":       {[]string{"import", "--bundle-id", "a.b", "--topic", "news", "--query", "select id, lpad(to_hex(id), 64, 'f') as token from strangers", "--key-column", "id"}, 103},
		"migrate":      {[]string{"migrate", "--from", "news", "--to", "else", "--table", "users"}, 13},
		"sync":         {[]string{"sync", "--topic", "news", "--table", "strangers", "--max-remove", "100%"}, 3},
		"lost replies": {[]string{"sync", "--topic", "news", "--table", "strangers", "--max-remove", "100%", "--patience", "1s"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, db := newProgram(t, alive), pgtest.New(t)
			fillTable(t, db, 10_000)
			if _, err := db.Exec(t.Context(), `create table strangers (id bigint primary key, token text); insert into strangers select n, 'stranger-' || n from generate_series(1, 10000) n`); err != nil {
				t.Fatal(err)
			}
			database := []string{"--database-url", db.Config().ConnString(), "--rate", "0", "--concurrency", "2"}
			sync := append([]string{"sync", "--topic", "news", "--table", "users", "--max-remove", "100%"}, database...)
			if code, s := p.run(sync...); code != 0 {
				t.Fatalf("the first sync ended with %d: %+v", code, s)
			}
			if p.At(test.atCall, func(it *os.Process) { it.Kill() }); test.atCall == 0 {
				p.Service.SetFaults(lost)
			}
			if code, s := p.run(append(test.args, database...)...); code == 0 {
				t.Fatalf("nothing went wrong: %+v", s)
			}
			p.Service.SetFaults()
			p.At(0, nil)
			if before := p.Service.Count("news"); before == 10_000 {
				t.Fatal("the topic is as it was: this proves nothing")
			}
			p.later(db)
			calls := len(p.Service.Calls())
			code, s := p.run(sync...)
			if code != 0 {
				t.Fatalf("the last sync ended with %d: %+v", code, s)
			}
			p.wantEqual(db, "news")
			if n := len(p.Service.Calls()) - calls; n > 9 {
				t.Errorf("%d calls to undo what 13 at most have done: %+v", n, s)
			}
		})
	}
}

// A sync without a name is killed, and another set is wanted the next night: the service
// holds that one in the end. With a name it goes on with the difference that it began with.
func TestKilledSyncOfAnotherNight(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string // the where clause of what the service holds in the end
	}{"without a name": {nil, "id > 15000"}, "with a name": {[]string{"--job", "it"}, "id <= 20000"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, db := newProgram(t, alive), pgtest.New(t)
			fillTable(t, db, 30_000)
			exec := func(sql string) {
				t.Helper()
				if _, err := db.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			exec(`create view members as select * from users where id <= 20000`)
			args := append([]string{"sync", "--topic", "news", "--table", "members", "--rate", "0", "--concurrency", "2", "--max-remove", "100%",
				"--database-url", db.Config().ConnString()}, test.args...)
			p.KillRepeatedly(2, func() int64 { return 5 }, args...)
			exec(`create or replace view members as select * from users where id > 15000`)
			p.later(db)
			if code, s := p.run(args...); code != 0 {
				t.Fatalf("the last run ended with %d: %+v", code, s)
			}
			exec(`delete from users where not (` + test.want + `)`)
			p.wantEqual(db, "news")
		})
	}
}

// A call of a killed command is carried out once more, after a sync that was begun at once has undone it, and though the
// command was run again before: the next sync undoes it again.
func TestCallOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]bool{"killed": false, "killed and run again": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, db := newProgram(t, alive), pgtest.New(t)
			fillTable(t, db, 10_000)
			database := []string{"--database-url", db.Config().ConnString(), "--rate", "0", "--concurrency", "2"}
			sync := append([]string{"sync", "--topic", "news", "--table", "users", "--max-remove", "100%"}, database...)
			leave := append([]string{"unsubscribe", "--topic", "news", "--table", "users"}, database...)
			must := func(args []string) {
				t.Helper()
				if code, s := p.run(args...); code != 0 {
					t.Fatalf("%v ended with %d: %+v", args[0], code, s)
				}
			}
			must(sync)
			p.At(3, func(it *os.Process) { it.Kill() })
			if code, _ := p.run(leave...); code != -1 {
				t.Fatalf("it was not killed: %d", code)
			}
			p.At(0, nil)
			late := p.unrecorded(db, "news")
			if _, err := db.Exec(t.Context(), `update bulksub.segments set lease_end = clock_timestamp()`); err != nil {
				t.Fatal(err)
			}
			if again {
				must(leave)
			}
			must(sync)
			csv := filepath.Join(t.TempDir(), "late.csv")
			if err := os.WriteFile(csv, []byte("token\n"+strings.Join(late, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			must([]string{"unsubscribe", "--topic", "news", "--csv", csv, "--rate", "0"})
			if len(late) == 0 || p.Service.Count("news") > 10_000-len(late) {
				t.Fatal("no call came late")
			}
			p.later(db)
			if code, s := p.run(sync...); code != 0 || s.Requests > 9 {
				t.Errorf("the last sync ended with %d: %+v", code, s)
			}
			p.wantEqual(db, "news")
		})
	}
}

// unrecorded lists the tokens in doubt that the topic does not have.
func (p *program) unrecorded(db *pgxpool.Pool, topic string) []string {
	p.t.Helper()
	rows, _ := db.Query(p.t.Context(), `select token from bulksub.subscriptions where doubted is not null and token <> all($1)`, p.Service.Subscribers(topic))
	tokens, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		p.t.Fatal(err)
	}
	return tokens
}
