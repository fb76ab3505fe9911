package main

import (
	"os"
	"slices"
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
	if diff := firstDifference(p.service.Subscribers(topic), slices.Clone(wanted)); diff != "" {
		p.t.Error("subscribers: " + diff)
	}
	if diff := firstDifference(list(`select token from bulksub.subscriptions where topic = '`+topic+`'`), wanted); diff != "" {
		p.t.Error("beliefs: " + diff)
	}
}

// A sync that is killed at any call goes on with the difference it began with, and
// in the end the service holds what the table says (P1, P2).
func TestKilledSyncGoesOn(t *testing.T) {
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
			p.at(int64(1+n%3), func(it *os.Process) { it.Kill() })
			if code, _ := p.run(args...); code == -1 {
				killed++
			}
		}
		if killed < kills/2 {
			t.Fatalf("only %d of %d runs were killed: this proves nothing", killed, kills)
		}
		p.at(0, nil)
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
	p, db := newProgram(t, alive), pgtest.New(t)
	fillTable(t, db, 120_000)
	codes := p.together(3, "sync", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--database-url", db.Config().ConnString())
	if !slices.Equal(codes, []int{0, 0, 0}) {
		t.Errorf("ended with %v", codes)
	}
	if calls := len(p.service.Calls()); calls > 120+2*3+3 {
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
