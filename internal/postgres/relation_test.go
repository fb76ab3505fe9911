package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bulksub/bulksub/internal/pgtest"
)

var relations = []string{
	`create table plain (id bigint primary key, token text)`,
	`create table by_uuid (id uuid primary key, token varchar(200))`,
	`create table by_text (name text collate "C" primary key, token text not null)`,
	`create table covering (id bigint, note text, token text, primary key (id) include (note))`,
	`create table pair (a int, b int, token text not null unique, primary key (a, b))`,
	`create table keyless (token text not null unique, n int, nothing int)`,
	`insert into keyless values ('x', 1), ('y', 1), ('z', 2)`,
	`create table optional (token text unique)`,
	`create table optional_null (token text unique)`,
	`insert into optional_null values ('x'), (null)`,
	`create table partial (token text not null)`,
	`create unique index on partial (token) where token <> 'x'`,
	`insert into partial values ('x'), ('x')`,
	`create table together (token text not null, n int not null, unique (token, n))`,
	`insert into together values ('x', 1), ('x', 2)`,
	`create table folded (token text not null, n int)`,
	`create unique index on folded ((lower(token) || n::text))`,
	`insert into folded values ('x', 1), ('x', 2)`,
	`create table parent (id bigint primary key, token text)`,
	`create table child () inherits (parent)`,
	`insert into parent values (1, 'x')`,
	`insert into child values (1, 'y')`,
	`create table parted (id bigint primary key, token text) partition by hash (id)`,
	`create table parted_0 partition of parted for values with (modulus 1, remainder 0)`,
	`create view seen as select id, token from plain`,
	`create view seen_twice as select 1 as id, 'x' as token union all select 1, 'y'`,
	`create materialized view kept as select id, token from plain`,
	`create materialized view kept_empty as select id, token from plain with no data`,
	`create table raw (id bigint primary key, token bytea)`,
	`create table documents (id json, token text)`,
	`create table bare (id bigint primary key)`,
	`create schema "My.Schema"`,
	`create table "My.Schema"."Us""ers" ("Key" int primary key, "To Ken" text)`,
	`create table "My.Schema".lower (id int primary key, token text)`,
	`create table "Capital" (id int primary key, token text)`,
	`create table "dot.ted" (id int primary key, token text)`,
	`create table "a.b.c.d" (id int primary key, token text)`,
	`create table "Twice" (id int primary key, token text)`,
	`create table twice (id int primary key, token text)`,
	`create sequence counter`,
	`create domain device as text collate "C"`,
	`create table by_domain (token device primary key)`,
}

func TestResolve(t *testing.T) {
	pool := database(t, relations...)
	for _, c := range []struct {
		wanted           Wanted
		name, kind       string
		key, keyType     string
		token, tokenType string
	}{
		{Wanted{Table: "plain"}, `"public"."plain"`, "table", "id", "bigint", "token", "text"},
		{Wanted{Table: "PUBLIC.PLAIN", TokenColumn: "TOKEN"}, `"public"."plain"`, "table", "id", "bigint", "token", "text"},
		{Wanted{Table: "by_uuid"}, `"public"."by_uuid"`, "table", "id", "uuid", "token", "character varying(200)"},
		{Wanted{Table: "by_text"}, `"public"."by_text"`, "table", "name", "text", "token", "text"},
		{Wanted{Table: "covering"}, `"public"."covering"`, "table", "id", "bigint", "token", "text"},
		{Wanted{Table: "pair"}, `"public"."pair"`, "table", "token", "text", "token", "text"},
		{Wanted{Table: "keyless"}, `"public"."keyless"`, "table", "token", "text", "token", "text"},
		{Wanted{Table: "keyless", KeyColumn: "n", Where: "n > 1"}, `"public"."keyless"`, "table", "n", "integer", "token", "text"},
		{Wanted{Table: "optional"}, `"public"."optional"`, "table", "token", "text", "token", "text"},
		{Wanted{Table: "optional_null", Where: "token is not null ; \n"}, `"public"."optional_null"`, "table", "token", "text", "token", "text"},
		{Wanted{Table: "partial", Where: "token <> 'x' -- the good ones"}, `"public"."partial"`, "table", "token", "text", "token", "text"},
		{Wanted{Table: "parted"}, `"public"."parted"`, "table", "id", "bigint", "token", "text"},
		{Wanted{Table: "seen"}, `"public"."seen"`, "view", "token", "text", "token", "text"},
		{Wanted{Table: "seen", KeyColumn: "id"}, `"public"."seen"`, "view", "id", "bigint", "token", "text"},
		{Wanted{Table: "kept", KeyColumn: "id"}, `"public"."kept"`, "materialized view", "id", "bigint", "token", "text"},
		{Wanted{Table: "by_domain"}, `"public"."by_domain"`, "table", "token", "device", "token", "device"},
		{Wanted{Table: `"My.Schema"."Us""ers"`, TokenColumn: `"To Ken"`}, `"My.Schema"."Us""ers"`, "table", "Key", "integer", "To Ken", "text"},
		{Wanted{Table: `"My.Schema"."Us""ers"`, TokenColumn: "To Ken", KeyColumn: "Key"}, `"My.Schema"."Us""ers"`, "table", "Key", "integer", "To Ken", "text"},
		{Wanted{Table: `"My.Schema".LOWER`}, `"My.Schema"."lower"`, "table", "id", "integer", "token", "text"},
		{Wanted{Table: "Capital"}, `"public"."Capital"`, "table", "id", "integer", "token", "text"},
		{Wanted{Table: "dot.ted"}, `"public"."dot.ted"`, "table", "id", "integer", "token", "text"},
		{Wanted{Table: "a.b.c.d"}, `"public"."a.b.c.d"`, "table", "id", "integer", "token", "text"},
		{Wanted{Table: `"Twice"`}, `"public"."Twice"`, "table", "id", "integer", "token", "text"},
		{Wanted{Table: "twice"}, `"public"."twice"`, "table", "id", "integer", "token", "text"},
		{Wanted{Query: "select id, token from plain"}, "", "query", "token", "text", "token", "text"},
		{Wanted{Query: " select id as \"Nr\", token from plain ;\r\n", KeyColumn: "Nr"}, "", "query", "Nr", "bigint", "token", "text"},
		{Wanted{Query: "select token from plain -- all", Where: "token <> ''"}, "", "query", "token", "text", "token", "text"},
		{Wanted{Query: "with w as (select 'a'::char(3) as token) select * from w order by 1 limit 5"}, "", "query", "token", "character(3)", "token", "character(3)"},
	} {
		if c.wanted.TokenColumn == "" {
			c.wanted.TokenColumn = "token"
		}
		r, err := Resolve(t.Context(), pool, c.wanted)
		if err != nil {
			t.Errorf("%+v: %v", c.wanted, err)
			continue
		}
		if r.Name != c.name || r.Kind != c.kind || r.Key != (Column{c.key, c.keyType}) || r.Token != (Column{c.token, c.tokenType}) {
			t.Errorf("%+v: %+v", c.wanted, r)
		}
		exec(t, pool, r.Select(r.Key.SQL()+", "+r.Token.SQL(), "true"))
	}
}

func TestResolveRefuses(t *testing.T) {
	pool := database(t, relations...)
	for _, c := range []struct {
		wanted Wanted
		want   string
	}{
		{Wanted{Table: "nothing"}, `table nothing: there is no such table in this database; write its schema too if it is not on the search path`},
		{Wanted{Table: "counter"}, `table counter: there is no such table in this database; write its schema too if it is not on the search path`},
		{Wanted{Table: "other.public.plain"}, `table other.public.plain: there is no such table in this database; write its schema too if it is not on the search path`},
		{Wanted{Table: `"Us`}, `table "Us: the name "\"Us" has a quote that is not closed`},
		{Wanted{Table: "Twice"}, `table Twice: this may be "public"."Twice" or "public"."twice"; write the one that is meant with double quotes`},
		{Wanted{Table: "keyless", TokenColumn: "tokn"}, `table "public"."keyless": there is no column "tokn"; it has token, n, nothing. Name one with --token-column`},
		{Wanted{Table: "bare"}, `table "public"."bare": there is no column "token"; it has id. Name one with --token-column`},
		{Wanted{Table: "plain", KeyColumn: "nr"}, `table "public"."plain": there is no column "nr"; it has id, token. Name one with --key-column`},
		{Wanted{Query: "select 'TOKEN'::text as token, 1 as id where 'TOKEN'::text::int > 0"},
			`--query: a value in it is not what the query takes it for: SQLSTATE 22P02`},
		{Wanted{Query: "select 1 as id"}, `--query: there is no column "token"; it has id. Name one with --token-column`},
		{Wanted{Table: "keyless", KeyColumn: "n"}, `table "public"."keyless": the key column "n" is not unique: several rows share a value; name a unique column with --key-column`},
		{Wanted{Table: "keyless", KeyColumn: "nothing"}, `table "public"."keyless": the key column "nothing" has nulls; name a column without them with --key-column, or leave those rows out with --where`},
		{Wanted{Table: "optional_null"}, `table "public"."optional_null": the key column "token" has nulls; name a column without them with --key-column, or leave those rows out with --where`},
		{Wanted{Table: "partial"}, `table "public"."partial": the key column "token" is not unique: several rows share a value; name a unique column with --key-column`},
		{Wanted{Table: "together"}, `table "public"."together": the key column "token" is not unique: several rows share a value; name a unique column with --key-column`},
		{Wanted{Table: "folded"}, `table "public"."folded": the key column "token" is not unique: several rows share a value; name a unique column with --key-column`},
		{Wanted{Table: "parent"}, `table "public"."parent": the key column "id" is not unique: several rows share a value; name a unique column with --key-column`},
		{Wanted{Table: "seen_twice", KeyColumn: "id"}, `table "public"."seen_twice": the key column "id" is not unique: several rows share a value; name a unique column with --key-column`},
		{Wanted{Query: "select 1 as id, 'x' as token union all select 1, 'y'", KeyColumn: "id"}, `--query: the key column "id" is not unique: several rows share a value; name a unique column with --key-column`},
		{Wanted{Table: "documents", KeyColumn: "id"}, `table "public"."documents": the key column "id" cannot be ordered, it is of type json; name another with --key-column`},
		{Wanted{Table: "raw"}, `table "public"."raw": the column "token" holds bytes, not text; read it with --query and encode(…) or convert_from(…)`},
		{Wanted{Table: "plain", Where: "tokn <> ''"}, `table "public"."plain": a column is not there: ERROR: column "tokn" does not exist (SQLSTATE 42703)`},
		{Wanted{Table: "plain", Where: "active(token)"}, `table "public"."plain": a function or an operator is not there: ERROR: function active(text) does not exist (SQLSTATE 42883)`},
		{Wanted{Table: "plain", Where: "id ="}, `table "public"."plain": the database refuses to read it: ERROR: syntax error at or near ")" (SQLSTATE 42601)`},
		{Wanted{Table: "plain", Where: "true) union all select * from plain where (true"}, `table "public"."plain": the database refuses to read it: ERROR: syntax error at or near "union" (SQLSTATE 42601)`},
		{Wanted{Query: "select * from nothing"}, `--query: a table is not there: ERROR: relation "nothing" does not exist (SQLSTATE 42P01)`},
		{Wanted{Query: "delete from keyless returning token"}, `--query: the database refuses to read it: ERROR: syntax error at or near "from" (SQLSTATE 42601)`},
		{Wanted{Query: "select token from plain; select 1"}, `--query: the database refuses to read it: ERROR: syntax error at or near ";" (SQLSTATE 42601)`},
		{Wanted{Query: "select token from plain where id = $1"}, `--query: a parameter such as $1 has no value here; write the value itself: ERROR: bind message supplies 0 parameters, but prepared statement "" requires 1 (SQLSTATE 08P01)`},
		{Wanted{Table: "plain", Where: "id = $1"}, `table "public"."plain": a parameter such as $1 has no value here; write the value itself: ERROR: bind message supplies 0 parameters, but prepared statement "" requires 1 (SQLSTATE 08P01)`},
		{Wanted{Table: "kept_empty"}, `table "public"."kept_empty": the database refuses to read it: ERROR: materialized view "kept_empty" has not been populated (SQLSTATE 55000)`},
	} {
		if c.wanted.TokenColumn == "" {
			c.wanted.TokenColumn = "token"
		}
		r, err := Resolve(t.Context(), pool, c.wanted)
		if _, ok := errors.AsType[*RelationError](err); !ok || err.Error() != c.want {
			t.Errorf("%+v: %+v\n got %v\nwant %s", c.wanted, r, err, c.want)
		}
	}
}

// The URL may ask for a protocol in which the server judges less and two
// statements are as good as one.
func TestResolveInTheSimpleProtocol(t *testing.T) {
	pool, err := Connect(t.Context(), with(t, pgtest.URL(t), "default_query_exec_mode", "simple_protocol"), MostConnections)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	exec(t, pool, "create table plain (id int primary key, token text)")
	for _, query := range []string{"select token from plain where id = $1", "select token from plain) as t; create table written (); select * from (select 1"} {
		_, err := Resolve(t.Context(), pool, Wanted{Query: query, TokenColumn: "token"})
		if _, ok := errors.AsType[*RelationError](err); !ok {
			t.Errorf("%s: %v", query, err)
		}
	}
	if err := ask(t.Context(), pool, "select from written"); Code(err) != "42P01" {
		t.Errorf("a second statement was run: %v", err)
	}
}

// A source only reads: SQL that says more than one thing is refused whole.
func TestResolveRunsNoSecondStatement(t *testing.T) {
	pool := database(t, relations...)
	for _, w := range []Wanted{
		{Table: "plain", TokenColumn: "token", Where: "true); create table written (); select (true"},
		{Query: "select token from plain) as t; create table written (); select * from (select 1", TokenColumn: "token"},
		{Query: "with w as (insert into keyless values ('w', 5) returning token) select token from w", TokenColumn: "token"},
	} {
		if _, err := Resolve(t.Context(), pool, w); err == nil {
			t.Errorf("%+v was taken", w)
		}
	}
	var written, rows int
	if err := pool.QueryRow(t.Context(), "select count(*), (select count(*) from keyless) from pg_class where relname = 'written'").Scan(&written, &rows); err != nil || written != 0 || rows != 3 {
		t.Errorf("%d tables and %d rows were written, %v", written, rows-3, err)
	}
}

func TestResolveWithoutRights(t *testing.T) {
	pool := database(t, relations...)
	conn, role := stranger(t, pool)
	ask := func(w Wanted) error {
		w.TokenColumn = "token"
		_, err := Resolve(t.Context(), conn, w)
		return err
	}
	const advice = "this user may not read it; grant select on it, and usage on its schema: ERROR: permission denied for "
	for _, c := range []struct {
		wanted Wanted
		want   string
	}{
		{Wanted{Table: "plain"}, `table "public"."plain": ` + advice + "table plain (SQLSTATE 42501)"},
		{Wanted{Table: `"My.Schema".lower`}, `table "My.Schema".lower: ` + advice + "schema My.Schema (SQLSTATE 42501)"},
		{Wanted{Query: "select token from plain"}, `--query: ` + advice + "table plain (SQLSTATE 42501)"},
	} {
		if err := ask(c.wanted); err == nil || err.Error() != c.want {
			t.Errorf("%+v:\n got %v\nwant %s", c.wanted, err, c.want)
		}
	}
	exec(t, pool, "grant select (id, token) on plain to "+role)
	if err := ask(Wanted{Table: "plain"}); err != nil {
		t.Errorf("with a right to the two columns alone: %v", err)
	}
	exec(t, pool, "alter table plain add topic text")
	if err := ask(Wanted{Table: "plain", Further: []string{"topic"}}); err == nil || err.Error() != `table "public"."plain": `+advice+"table plain (SQLSTATE 42501)" {
		t.Errorf("without a right to a further column: %v", err)
	}
}

func TestSelectJoinsConditions(t *testing.T) {
	r := &Relation{Name: "x", From: "x as t", Where: "(a or b\n)"}
	if got, want := r.Select("1", "c"), "select 1 from x as t where (a or b\n) and c"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.And("d")
	if got, want := r.Select("1", ""), "select 1 from x as t where (a or b\n) and d"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := (&Relation{From: "x as t"}).Select("1", ""); strings.Contains(got, "where") {
		t.Errorf("%s, want no condition", got)
	}
}

func TestExplainLeavesOthersAlone(t *testing.T) {
	r := &Relation{Name: "x"}
	for _, err := range []error{nil, errors.New("the network"), answer("57P01"), answer("40001"),
		&pgconn.PgError{Code: "08P01", SeverityUnlocalized: "FATAL", Message: "query_wait_timeout"}} {
		if got := r.Explain(err); got != err {
			t.Errorf("Explain(%v) = %v", err, got)
		}
	}
}
