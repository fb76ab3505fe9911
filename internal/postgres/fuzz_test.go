package postgres

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// FuzzResolve: whatever the names and the condition are, they are refused, or what is read are rows of that table and no
// others, each once; and nothing but the one statement is run. PostgreSQL is the judge.
func FuzzResolve(f *testing.F) {
	for _, seed := range []Wanted{
		{Table: "plain", TokenColumn: "token"},
		{Table: `"My.Schema"."Us""ers"`, TokenColumn: "To Ken", KeyColumn: "Key", Where: `"To Ken" <> 'a"b' -- all`},
		{Table: "plain", TokenColumn: "token", Where: "id > 1;"},
		{Table: "plain", TokenColumn: "token", Where: "true) or (id = 1"},
		{Table: "plain", TokenColumn: "token", Where: "true) union all select * from other where (true"},
		{Table: "plain", TokenColumn: "token", Where: "true); create table written (); select (true"},
		{Table: "plain", TokenColumn: "token", Where: "token in (select token from other) /* ) */ and '(' <> $$)$$"},
		{Table: "plain as t; drop table other", TokenColumn: `token" from other --`},
	} {
		f.Add(seed.Table, seed.TokenColumn, seed.KeyColumn, seed.Where)
	}
	pool := pgtest.New(f)
	for _, sql := range []string{
		`create table plain (id bigint primary key, token text)`,
		`insert into plain values (1, 'x'), (2, 'y')`,
		`create table other (id bigint primary key, token text)`,
		`insert into other values (1, 'x'), (3, 'z')`,
		`create schema "My.Schema"`,
		`create table "My.Schema"."Us""ers" ("Key" int primary key, "To Ken" text)`,
		`insert into "My.Schema"."Us""ers" values (1, 'a"b')`,
	} {
		if _, err := pool.Exec(f.Context(), sql); err != nil {
			f.Fatal(err)
		}
	}
	const schema = `select count(*)::text || (select array_agg(t.*)::text from plain t) || (select array_agg(t.*)::text from other t) from pg_class`
	var before string
	if err := pool.QueryRow(f.Context(), schema).Scan(&before); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, table, token, key, where string) {
		r, err := Resolve(t.Context(), pool, Wanted{Table: table, TokenColumn: token, KeyColumn: key, Where: where})
		var after string
		if err := pool.QueryRow(t.Context(), schema).Scan(&after); err != nil || after != before {
			t.Fatalf("%q, %q, %q, %q has left %s, %v", table, token, key, where, after, err)
		}
		if err != nil {
			if _, ok := errors.AsType[*RelationError](err); !ok && Code(err) == "" {
				t.Errorf("%v is no RelationError", err)
			}
			return
		}
		columns := r.Key.SQL() + "::text as k, " + r.Token.SQL() + "::text as v"
		var foreign, twice bool
		err = pool.QueryRow(t.Context(), `
			with read as (`+r.Select(columns, "true")+`)
			select exists(select from (select k, v from read except all select `+columns+` from `+r.Name+` as t) as x),
				exists(select from read group by k having count(*) > 1)`, pgx.QueryExecModeExec).Scan(&foreign, &twice)
		if err != nil && Code(err) == "" {
			t.Fatal(err)
		}
		if foreign || twice {
			t.Errorf("%q where %q: reads rows of others (%v) or one of them twice (%v)", table, where, foreign, twice)
		}
	})
}
