package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

// devices has a column of every kind that is hard to bring back.
const devices = `
	create type pair as (a int, b text);
	create type mood as enum ('fine', 'so so');
	create table devices (
		id bigint generated always as identity primary key, token text, pruned_at timestamptz,
		"Odd ""name's" text default E'tab\t"quote"\\ \n', spelled json default '{"b": 1,  "a":2, "a":"\u0000"}', nothing jsonb default 'null',
		known jsonb default '{"a": [1.50, null, "\n"]}', none jsonb, texts text[] default '{a,NULL,"NULL","a,b",""}',
		shifted int[] default '[5:6]={1,2}', grid int[] default '{{1,2},{3,4}}', empty text[] default '{}', docs jsonb[] default array['null', '{"a":1}']::jsonb[],
		raw bytea default '\x00ff5c', exact numeric default 1.5000, huge numeric default 1e200, nan numeric default 'NaN',
		ratio float8 default '-0', third float8 default 1.0/3, single real default 0.1, endless float8 default '-Infinity',
		at timestamptz default '2026-10-25 01:30:00.123456+02', never timestamp default 'infinity', day date default '0044-03-15 BC',
		span interval default '-1 mon +2 days -00:00:01.5', during tstzrange default '[2026-01-01 00:00+00,)', clock timetz default '12:00:00.5+05:30',
		flag bool default false, who uuid default '00000000-0000-0000-0000-00000000abcd', net inet default '10.0.0.1/8', code char(4) default 'a', bits bit varying default b'0101',
		price money default 1234.5, mixed pair default row(1, null), state mood default 'so so', "order" "char" default 'x', words tsvector default 'a:1 b',
		doubled bigint generated always as (41 + 1) stored, small varchar(3) default 'abc'
	);
	insert into devices (token) select 't' || n from generate_series(1, 30) n`

// judged makes a job with a result for each row of a table: not_found for the
// keys named, ok for the rest.
func judged(t *testing.T, db *pgxpool.Pool, table, key string, gone ...string) *Pruner {
	t.Helper()
	relation, err := postgres.Resolve(t.Context(), db, postgres.Wanted{Table: table, TokenColumn: "token", KeyColumn: key})
	must(t, err)
	p, err := sink.OpenPostgres(t.Context(), db, "job", sink.Asked{"command": "subscribe", "topic": "news", "table": table}, time.Minute)
	must(t, err)
	defer p.Close()
	c, err := p.Claim(t.Context(), func(_ context.Context, after pipeline.Segment) (pipeline.Segment, bool, error) {
		return pipeline.Segment{Number: 1, Bounds: "all"}, after.Number < 1, nil
	})
	must(t, err)
	rows, err := db.Query(t.Context(), relation.Select(relation.Key.SQL()+"::text, "+relation.Token.SQL()+"::text", ""))
	must(t, err)
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r pipeline.Result, err error) {
		r = pipeline.Result{Claim: c, Fate: &pipeline.Fate{Topic: "news", Status: pipeline.OK}}
		err = row.Scan(&r.Key, &r.Token)
		if slices.Contains(gone, r.Key) {
			r.Status = pipeline.NotFound
		}
		return r, err
	})
	must(t, err)
	must(t, p.Record(t.Context(), all))
	must(t, p.Finish(t.Context(), c))
	return &Pruner{Pool: db, Job: p.Job(), Relation: relation, Mode: Delete, Column: "pruned_at", Max: 0.5,
		Retry: postgres.Retrier{Patience: time.Minute, Timeout: time.Minute}}
}

func prunable(t *testing.T, mode string, gone ...string) (*pgxpool.Pool, *Pruner) {
	t.Helper()
	db := pgtest.New(t)
	mustExec(t, db, devices)
	p := judged(t, db, "devices", "", gone...)
	p.Mode = mode
	must(t, p.Check(t.Context()))
	return db, p
}

// look is the whole table, byte for byte.
func look(t *testing.T, db postgres.Querier, table string) string {
	t.Helper()
	return ask[string](t, db, `select coalesce(string_agg(t::text, e'\n' order by t::text), '') from `+table+` t`)
}

func ids(t *testing.T, db postgres.Querier, condition string) []string {
	t.Helper()
	return ask[[]string](t, db, `select coalesce(array_agg(id::text order by id), '{}') from devices where `+condition)
}

func wantPruned(t *testing.T, p *Pruner, want int64) {
	t.Helper()
	got, err := p.Pruned(t.Context())
	must(t, err)
	if got != want {
		t.Errorf("%d pruned, want %d", got, want)
	}
}

func wantRestored(t *testing.T, p *Pruner, restored, left int64) {
	t.Helper()
	r, l, err := p.Unprune(t.Context())
	must(t, err)
	if r != restored || l != left {
		t.Errorf("restored %d, left %d; want %d, %d", r, l, restored, left)
	}
}

func TestPruneAndBack(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{Delete, Mark} {
		t.Run(mode, func(t *testing.T) {
			db, p := prunable(t, mode, "3", "5", "8")
			before := look(t, db, "devices")
			rest := `(select * from devices where id not in (3, 5, 8))`
			others := look(t, db, rest)
			for range 2 {
				must(t, p.Prune(t.Context()))
				wantPruned(t, p, 3)
				if look(t, db, rest) != others {
					t.Error("other rows were changed")
				}
			}
			gone := map[string]string{Delete: "false", Mark: "pruned_at is not null"}[mode]
			here := map[string]string{Delete: "id in (3, 5, 8)", Mark: "pruned_at is null and id in (3, 5, 8)"}[mode]
			if mode == Mark {
				wantKeys(t, "marked", ids(t, db, gone), "3", "5", "8")
			}
			if left := ids(t, db, here); len(left) > 0 {
				t.Errorf("not pruned: %v", left)
			}
			archived := ask[string](t, db, `select concat_ws(' ', row_key, token, "table", coalesce(marked, 'deleted'), "row"->>'id', "row"->>'token', "row"->>'spelled', "row"->>'doubled', coalesce("row"->>'pruned_at', 'null'))
				from bulksub.pruned order by id limit 1`)
			wantText(t, archived, `3 t3 "public"."devices" `+map[string]string{Delete: "deleted", Mark: "pruned_at"}[mode]+` 3 t3 {"b": 1,  "a":2, "a":"\u0000"} 42 null`)

			mustExec(t, db, `set timezone to 'Asia/Tokyo'`)
			column := p.Column
			p.Column = "id" // the archive knows better
			wantRestored(t, p, 3, 0)
			p.Column = column
			mustExec(t, db, `reset timezone`)
			if after := look(t, db, "devices"); after != before {
				t.Errorf("the table was\n%s\nand is\n%s", before, after)
			}
			wantRestored(t, p, 0, 0)
			wantPruned(t, p, 0)
			must(t, p.Prune(t.Context()))
			wantPruned(t, p, 3)
		})
	}
}

// TestArchiveReadsTheSameEverywhere brings rows back from a session with other
// settings.
func TestArchiveReadsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	db, p := prunable(t, Delete, "3")
	before := look(t, db, "devices")
	other := db.Config()
	for name, value := range map[string]string{"datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "extra_float_digits": "0", "bytea_output": "escape", "timezone": "Asia/Kolkata"} {
		other.ConnConfig.RuntimeParams[name] = value
	}
	strange, err := pgxpool.NewWithConfig(t.Context(), other)
	must(t, err)
	t.Cleanup(strange.Close)
	p.Pool = strange
	must(t, p.Prune(t.Context()))
	p.Pool = db
	wantRestored(t, p, 1, 0)
	if after := look(t, db, "devices"); after != before {
		t.Errorf("the table was\n%s\nand is\n%s", before, after)
	}
}

// TestPruneTouchesOnlyWhatWasJudged: between the verdict and the pruning, rows
// get other tokens, and keys other rows.
func TestPruneTouchesOnlyWhatWasJudged(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{Delete, Mark} {
		t.Run(mode, func(t *testing.T) {
			db, p := prunable(t, mode, "1", "2", "3", "4", "5")
			mustExec(t, db, `update devices set token = 'new' where id = 1`)
			mustExec(t, db, `delete from devices where id = 2`)
			mustExec(t, db, `insert into devices (id, token) overriding system value values (2, 'reused')`)
			mustExec(t, db, `update devices set token = 'T3' where id = 3`)
			mustExec(t, db, `update devices set token = null where id = 4`)
			stay := look(t, db, `(select * from devices where id <> 5)`)
			must(t, p.Prune(t.Context()))
			wantPruned(t, p, 1)
			if look(t, db, `(select * from devices where id <> 5)`) != stay {
				t.Error("a row that was not judged was changed")
			}
		})
	}
}

func TestPruneComparesTokensByteByByte(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `create collation blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
	mustExec(t, db, `create table d (id text collate blind primary key, token text collate blind); insert into d values ('a', 'tok'), ('b', 'x'), ('c', 'y')`)
	p := judged(t, db, "d", "", "a")
	mustExec(t, db, `update d set token = 'TOK' where id = 'a'`)
	must(t, p.Prune(t.Context()))
	wantPruned(t, p, 0)
	mustExec(t, db, `update d set token = 'tok' where id = 'a'`)
	must(t, p.Prune(t.Context()))
	wantPruned(t, p, 1)
	wantRestored(t, p, 1, 0)
}

// TestPruneWaitsForARowUnderChange changes a judged row in a transaction that
// commits while the pruning waits for it.
func TestPruneWaitsForARowUnderChange(t *testing.T) {
	t.Parallel()
	db, p := prunable(t, Delete, "1", "2")
	tx, err := db.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(context.Background())
	mustExec(t, tx, `update devices set token = 'new' where id = 1`)
	pruned := make(chan error, 1)
	go func() { pruned <- p.Prune(context.WithoutCancel(t.Context())) }()
	for !ask[bool](t, db, `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`) {
		if len(pruned) > 0 {
			t.Fatal("nothing waited")
		}
	}
	must(t, tx.Commit(t.Context()))
	must(t, <-pruned)
	wantPruned(t, p, 1)
	wantKeys(t, "left", ids(t, db, "id < 3"), "1")
}

// TestPruneStaysBehindItsFence: what it does not let in prunes nothing (P9).
func TestPruneStaysBehindItsFence(t *testing.T) {
	t.Parallel()
	db, p := prunable(t, Delete, "3", "4")
	p.Fence = func(context.Context, pgx.Tx) error { return pgx.ErrNoRows }
	if err := p.Prune(t.Context()); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("pruned with %v", err)
	}
	if n := ask[int](t, db, `select count(*) from devices`); n != 30 {
		t.Errorf("%d rows are left", n)
	}
}

func TestPruneByOtherKeys(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ kind, a, b, c string }{
		"uuid": {"uuid", "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b", "00000000-0000-0000-0000-00000000000c"},
		"text": {"text", "", "É ' \\ b", "c"},
		"char": {"char(3)", "a  ", "b  ", "c"},
		"time": {"timestamptz", "2026-01-01 00:00:00.5+00", "2026-01-01 00:00:00+00", "2027-01-01 00:00:00+00"},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.New(t)
			mustExec(t, db, `create table d (token text, k `+test.kind+` primary key)`)
			mustExec(t, db, `insert into d values ('same', $1), ('same', $2), ('other', $3)`, test.a, test.b, test.c)
			before := look(t, db, "d")
			a := ask[string](t, db, `select k::text from d order by k limit 1`)
			p := judged(t, db, "d", "", a)
			must(t, p.Prune(t.Context()))
			wantPruned(t, p, 1)
			if n := ask[int](t, db, `select count(*) from d where token = 'same'`); n != 1 {
				t.Errorf("%d rows with the token, want the one that was not judged", n)
			}
			wantRestored(t, p, 1, 0)
			if look(t, db, "d") != before {
				t.Errorf("the table was\n%s\nand is\n%s", before, look(t, db, "d"))
			}
		})
	}
}

func TestUnpruneLeavesWhatWasTaken(t *testing.T) {
	t.Parallel()
	db, p := prunable(t, Delete, "1", "2", "3")
	mustExec(t, db, `create unique index on devices (token)`)
	must(t, p.Prune(t.Context()))
	mustExec(t, db, `insert into devices (id, token) overriding system value values (1, 'new'), (99, 't2')`)
	taken := look(t, db, "devices")
	wantRestored(t, p, 1, 2)
	if look(t, db, `(select * from devices where id <> 3)`) != taken {
		t.Error("a row that took a key was changed")
	}
	wantPruned(t, p, 2)
	mustExec(t, db, `delete from devices where id in (1, 99)`)
	wantRestored(t, p, 2, 0)
}

func TestPruneBrake(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		statuses map[pipeline.Status]int
		max      float64
		held     string // what the error says; "": pruned
	}{
		"above":            {map[pipeline.Status]int{pipeline.NotFound: 3, pipeline.OK: 7}, 0.2, "3 of 10 rows were not found, more than 20 %"},
		"exactly at":       {map[pipeline.Status]int{pipeline.NotFound: 29, pipeline.OK: 1, pipeline.Invalid: 70}, 0.29, ""},
		"none ok":          {map[pipeline.Status]int{pipeline.NotFound: 1, pipeline.Failed: 99}, 0.2, "not one was ok"},
		"none ok, max 1":   {map[pipeline.Status]int{pipeline.NotFound: 10}, 1, "10 rows were not found and not one was ok"},
		"one ok, max 1":    {map[pipeline.Status]int{pipeline.NotFound: 10, pipeline.OK: 1}, 1, ""},
		"nothing to prune": {map[pipeline.Status]int{pipeline.Failed: 10}, 0.2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.New(t)
			mustExec(t, db, devices)
			p := judged(t, db, "devices", "")
			mustExec(t, db, `truncate bulksub.records`)
			counts := make(map[string]int)
			for status, n := range test.statuses {
				counts[string(status)] = n
			}
			mustExec(t, db, `update bulksub.segments set counts = $1`, counts)
			p.Max = test.max
			err := p.Prune(t.Context())
			if held, ok := errors.AsType[*BrakeError](err); ok != (test.held != "") {
				t.Errorf("pruned: %v", err)
			} else if ok {
				wantText(t, held.Error(), "nothing was pruned", test.held)
				as := BrakeError{Job: "job", Rows: 1, Mode: Mark, Column: "gone_at", Lag: 64 << 20}
				wantText(t, as.Error(), "bulksub prune job --prune mark --prune-column gone_at --prune-lag 64 ")
				p.NoneOK = strings.HasSuffix(held.Error(), "bulksub prune job --none-ok")
				if limit := fmt.Sprintf("bulksub prune job --prune-max %.0f%%", 100*held.needed()); strings.HasSuffix(held.Error(), limit) {
					p.Max = held.needed()
				}
				if p.Prune(t.Context()) != nil {
					t.Errorf("held back by what it advised: %q", held)
				}
			}
		})
	}
}

func TestPruneCheck(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `
		create table d (id int primary key, token text, pruned_at timestamptz, day date); create view v as select * from d;
		create table parent (id int primary key, token text); create table child (more text) inherits (parent);
		create role reader; grant select on d to reader; create role marker; grant select, update (pruned_at) on d to marker;
		create role blind; grant select (id, token), delete on d to blind;
		create role watcher in role pg_read_all_stats; grant select, delete on d to watcher`)
	t.Cleanup(func() {
		db.Exec(context.Background(), `drop owned by reader, marker, blind, watcher; drop role reader, marker, blind, watcher`)
	})
	for name, test := range map[string]struct {
		wanted             postgres.Wanted
		role, mode, column string
		lag                int64
		flaw               string
	}{
		"table":         {mode: Delete},
		"mark":          {mode: Mark, column: "pruned_at"},
		"view":          {wanted: postgres.Wanted{Table: "v", KeyColumn: "id"}, mode: Delete, flaw: "this is a view"},
		"query":         {wanted: postgres.Wanted{Query: "select * from d", KeyColumn: "id"}, mode: Delete, flaw: "this is a query"},
		"inherited":     {wanted: postgres.Wanted{Table: "parent"}, mode: Delete, flaw: "inherit"},
		"no right":      {role: "reader", mode: Delete, flaw: "grant delete"},
		"half blind":    {role: "blind", mode: Delete, flaw: "may not read all of its columns"},
		"no mark right": {role: "reader", mode: Mark, column: "pruned_at", flaw: `grant update ("pruned_at")`},
		"marker":        {role: "marker", mode: Mark, column: "pruned_at"},
		"no watcher":    {role: "marker", mode: Mark, column: "pruned_at", lag: 1, flaw: "grant pg_read_all_stats"},
		"watcher":       {role: "watcher", mode: Delete, lag: 1},
		"no column":     {mode: Mark, column: `gone "at`, flaw: `add column "gone ""at" timestamptz`},
		"wrong type":    {mode: Mark, column: "day", flaw: "of type date"},
	} {
		t.Run(name, func(t *testing.T) {
			config := db.Config()
			if test.role != "" {
				config.ConnConfig.RuntimeParams["role"] = test.role
			}
			as, err := pgxpool.NewWithConfig(t.Context(), config)
			must(t, err)
			defer as.Close()
			if test.wanted.TokenColumn = "token"; test.wanted.Table+test.wanted.Query == "" {
				test.wanted.Table = "d"
			}
			r, err := postgres.Resolve(t.Context(), as, test.wanted)
			must(t, err)
			err = (&Pruner{Pool: as, Relation: r, Mode: test.mode, Column: test.column, Lag: test.lag}).Check(t.Context())
			if _, ok := errors.AsType[*postgres.RelationError](err); ok != (test.flaw != "") {
				t.Fatalf("check: %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), test.flaw) {
				t.Errorf("%v does not say %q", err, test.flaw)
			}
		})
	}
}
