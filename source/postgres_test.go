package source

import (
	"context"
	"crypto/rand"
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
)

const patience = 30 * time.Second

// database is a fresh database in which the statements were run.
func database(t *testing.T, statements ...string) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.New(t)
	exec(t, pool, statements...)
	return pool
}

func exec(t *testing.T, db pgtest.Execer, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// beside is a connection to the pool's database that is not of the pool.
func beside(t *testing.T, pool *pgxpool.Pool) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func resolve(t *testing.T, pool *pgxpool.Pool, w postgres.Wanted) *Postgres {
	t.Helper()
	if w.TokenColumn == "" {
		w.TokenColumn = "token"
	}
	r, err := postgres.Resolve(t.Context(), pool, w)
	if err != nil {
		t.Fatal(err)
	}
	return NewPostgres(pool, r, Always(subscribe...), false, patience)
}

// inOneQuery is what a single query says that the source's rows are.
func inOneQuery(t *testing.T, p *Postgres) []pipeline.Row {
	t.Helper()
	r := p.relation
	found, _ := p.pool.Query(t.Context(), r.Select(r.Key.SQL()+"::text, "+r.Token.SQL()+"::text", "")+" order by "+r.Key.SQL())
	all, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (pipeline.Row, error) {
		var key string
		var token *string
		err := row.Scan(&key, &token)
		if token == nil {
			return pipeline.Row{Key: key, Flaw: "null"}, err
		}
		return pipeline.Row{Key: key, Token: *token}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Keys of every kind, over several pages and in an order of their own.
func TestPostgresKeys(t *testing.T) {
	pool := database(t,
		`create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
		`create type size as enum ('large', 'small')`,
		`create schema "My.Schema"`,
		`create table "My.Schema"."Us""ers" ("Ke""y" text collate "en-x-icu" primary key, "To Ken" text)`,
	)
	const odd = `E'\\' || chr(33 + g % 90) || '''"<&>' || chr(8232) || case when g % 2 = 0 then E'\t\n' else 'Ä日' end || md5(g::text)`
	for kind, key := range map[string]string{
		"bigint":                     "g - 6000",
		"uuid":                       "md5(g::text)::uuid",
		"numeric":                    "g / 7.0",
		"double precision":           "g / 7.0::float",
		"timestamptz":                "'2026-03-29 00:00 Europe/Berlin'::timestamptz + g * interval '1.000007 s'",
		"date":                       "date '0044-03-15 BC' + g",
		"bytea":                      "decode(md5(g::text), 'hex')",
		"inet":                       "inet '10.0.0.0' + g",
		"varchar(60)":                "md5(g::text)",
		"char(40)":                   "md5(g::text)",
		"text":                       odd,
		`text collate "C"`:           odd,
		`text collate "en-x-icu"`:    odd,
		`text collate "sv-SE-x-icu"`: odd,
		"text collate nocase":        odd,
		"int[]":                      "array[g % 10, g]",
	} {
		t.Run(kind, func(t *testing.T) {
			name := postgres.Quote("of " + kind)
			exec(t, pool, "create table "+name+" (k "+kind+" primary key, token text)",
				"insert into "+name+" select "+key+", 'token-' || g from generate_series(1, 12000) g")
			p := resolve(t, pool, postgres.Wanted{Table: name})
			testSource(t, p, inOneQuery(t, p))
		})
	}
}

func TestPostgresRelations(t *testing.T) {
	pool := database(t,
		`create domain device as text check (value <> '')`,
		`create table users (id bigint primary key, token text, active bool, device device, code varchar(9), fixed char(9), uid uuid, n int)`,
		`insert into users select g, 'token-' || g, g % 3 = 0, 'd' || g, 'c' || g, 'f' || g, md5(g::text)::uuid, g from generate_series(1, 12000) g`,
		`insert into users values (12001, null), (12002, ''), (-1, E' a\tb\x7f ')`,
		`create table pairs (a int, b int, token text not null unique, primary key (a, b))`,
		`insert into pairs select g, g % 7, md5(g::text) from generate_series(1, 11000) g`,
		`create table nothing (id int primary key, token text)`,
		`create view active as select id, token from users where active`,
		`create materialized view kept as select id, token from users`,
		`create schema "My.Schema"`,
		`create table "My.Schema"."Us""ers" ("Ke""y" text primary key, "To Ken" text)`,
		`insert into "My.Schema"."Us""ers" values ('', 'a'), (' ', 'b'), ('"', 'c'), ('\', null)`,
		`create table parted (id bigint primary key, token text) partition by hash (id)`,
		`create table parted_0 partition of parted for values with (modulus 2, remainder 0)`,
		`create table parted_1 partition of parted for values with (modulus 2, remainder 1)`,
		`insert into parted select g, 't' || g from generate_series(1, 12000) g`,
	)
	for _, c := range []struct {
		wanted postgres.Wanted
		rows   int
	}{
		{postgres.Wanted{Table: "users"}, 12003},
		{postgres.Wanted{Table: "users", Where: "active or id > 11999 -- and others"}, 4002},
		{postgres.Wanted{Table: "users", TokenColumn: "device", Where: "device is not null"}, 12000},
		{postgres.Wanted{Table: "users", TokenColumn: "code", KeyColumn: "uid", Where: "uid is not null;"}, 12000},
		{postgres.Wanted{Table: "users", TokenColumn: "fixed"}, 12003},
		{postgres.Wanted{Table: "users", TokenColumn: "uid"}, 12003},
		{postgres.Wanted{Table: "users", TokenColumn: "n"}, 12003},
		{postgres.Wanted{Table: "users", Where: "false"}, 0},
		{postgres.Wanted{Table: "pairs"}, 11000},
		{postgres.Wanted{Table: "nothing"}, 0},
		{postgres.Wanted{Table: "active"}, 4000},
		{postgres.Wanted{Table: "active", KeyColumn: "id"}, 4000},
		{postgres.Wanted{Table: "kept", KeyColumn: "id"}, 12003},
		{postgres.Wanted{Table: "parted"}, 12000},
		{postgres.Wanted{Table: `"My.Schema"."Us""ers"`, TokenColumn: "To Ken"}, 4},
		{postgres.Wanted{Query: "select token from users where active;"}, 4000},
		{postgres.Wanted{Query: "select id as nr, token from users where active -- those", KeyColumn: "nr", Where: "nr > 3000"}, 3000},
		{postgres.Wanted{Query: "select id, min(token) as token from users group by id having count(*) = 1", KeyColumn: "id"}, 12003},
	} {
		t.Run(fmt.Sprint(c.wanted), func(t *testing.T) {
			p := resolve(t, pool, c.wanted)
			want := inOneQuery(t, p)
			if len(want) != c.rows {
				t.Fatalf("the query finds %d rows, want %d", len(want), c.rows)
			}
			testSource(t, p, want)
		})
	}
}

func TestPostgresBadTokensAreRows(t *testing.T) {
	pool := database(t, `create table users (id int primary key, token text)`,
		`insert into users values (1, null), (2, ''), (3, E'a\x01'), (4, repeat('x', 5000)), (5, 'good')`)
	want := tokens("", "", "a\x01", strings.Repeat("x", 5000), "good")
	want[0].Flaw = "null"
	testSource(t, resolve(t, pool, postgres.Wanted{Table: "users"}), want)
}

func TestPostgresSegments(t *testing.T) {
	pool := database(t, `create table users (id bigint primary key, token text)`)
	for _, n := range []int{0, 1, pageRows, pageRows + 1, segmentRows, segmentRows + 1} {
		exec(t, pool, "truncate users", fmt.Sprintf("insert into users select g, 'token-' || g from generate_series(1, %d) g", n))
		p := resolve(t, pool, postgres.Wanted{Table: "users"})
		if got, want := len(cut(t, p)), (n+segmentRows-1)/segmentRows; got != want {
			t.Errorf("%d rows make %d segments, want %d", n, got, want)
		}
		testSource(t, p, numbered(n))
	}
}

// TestPostgresDenseKeys: where integers stand without gaps, a segment ends where a full one would; behind a wider one, or
// with a gap at one of the spots that are looked at, behind 50,000 rows. Either way every row is read.
func TestPostgresDenseKeys(t *testing.T) {
	for _, c := range []struct {
		kind  string
		gaps  string
		third string // where the third segment ends
	}{
		{"bigint", "id between 110001 and 110100", "150000"},
		{"bigint", "id between 109901 and 110000", "150100"},
		{"bigint", "id between 140001 and 160000", "170000"},
		{"integer", "false", "150000"},
		{"numeric", "id between 110001 and 110100", "150100"},
		{"bigint", "id between 10 and 29", "150020"},
		{"bigint", "id > 110000 and id % 10 <> 0", "200000"},
		{"bigint", "id between 60001 and 60100 or id between 120001 and 120010", "150110"},
	} {
		t.Run(c.kind+" without "+c.gaps, func(t *testing.T) {
			pool := database(t, "create table users (id "+c.kind+" primary key, token text)",
				fmt.Sprintf("insert into users select g, 'token-' || g from generate_series(1, %d) g", 4*segmentRows+1),
				"delete from users where "+c.gaps)
			p := resolve(t, pool, postgres.Wanted{Table: "users"})
			segments := cut(t, p)
			if b, err := p.parseBounds(segments[2].Bounds); err != nil || b.To[0] != c.third {
				t.Errorf("the third segment is %s", segments[2].Bounds)
			}
			testSource(t, p, inOneQuery(t, p))
		})
	}
}

func TestPostgresEstimate(t *testing.T) {
	pool := database(t, `create table users (id bigint primary key, token text)`,
		`insert into users select g, 't' || g from generate_series(1, 20000) g`, `analyze users`)
	for _, c := range []struct {
		wanted      postgres.Wanted
		least, most int64
	}{
		{postgres.Wanted{Table: "users"}, 19_000, 21_000},
		{postgres.Wanted{Table: "users", Where: "id <= 5000"}, 4_000, 6_000},
		{postgres.Wanted{Query: "select token from users where id > 15000"}, 4_000, 6_000},
		{postgres.Wanted{Table: "users", Where: "id = 7"}, 1, 1},
	} {
		if got, err := resolve(t, pool, c.wanted).Estimate(t.Context()); err != nil || got < c.least || got > c.most {
			t.Errorf("%+v: Estimate = %d, %v; want %d to %d", c.wanted, got, err, c.least, c.most)
		}
	}
	p := resolve(t, pool, postgres.Wanted{Table: "users"})
	exec(t, pool, "drop table users")
	if _, err := p.Estimate(t.Context()); err == nil || err.Error() != gone("users") {
		t.Errorf("of a table that is gone: %v", err)
	}
}

func gone(name string) string {
	return fmt.Sprintf(`table "public".%q: a table is not there: ERROR: relation "public.%s" does not exist (SQLSTATE 42P01)`, name, name)
}

// filled is a table of n rows, and a source of them.
func filled(t *testing.T, n int) (*pgxpool.Pool, *Postgres) {
	t.Helper()
	pool := database(t, `create table users (id bigint primary key, token text)`,
		fmt.Sprintf(`insert into users select g, 'token-' || g from generate_series(1, %d) g`, n))
	return pool, resolve(t, pool, postgres.Wanted{Table: "users"})
}

// midway reads a source of one segment, calls act with the tenth row in hand,
// and returns the keys that came and the error that ended it.
func midway(t *testing.T, p *Postgres, act func()) (keys []string, err error) {
	t.Helper()
	for row, rowErr := range p.Rows(t.Context(), cut(t, p)[0]) {
		if err = rowErr; err != nil {
			break
		}
		if keys = append(keys, row.Key); len(keys) == 10 {
			act()
		}
	}
	return keys, err
}

// P7: while a row is in the caller's hands, no connection is, and no session of
// this database has a snapshot or a transaction.
func TestPostgresHoldsNoSnapshot(t *testing.T) {
	pool, p := filled(t, 3*pageRows-1)
	watcher := beside(t, pool)
	segment := cut(t, p)[0]
	n := 0
	for _, err := range p.Rows(t.Context(), segment) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%(pageRows/4) > 1 {
			continue
		}
		var busy []string
		if err := watcher.QueryRow(t.Context(), `
			select array_agg(concat_ws(' ', state, backend_xid, backend_xmin, query)) from pg_stat_activity
			where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
			and (state <> 'idle' or backend_xid is not null or backend_xmin is not null)`).Scan(&busy); err != nil {
			t.Fatal(err)
		}
		if held := pool.Stat().AcquiredConns(); held != 0 || len(busy) > 0 {
			t.Fatalf("at row %d: %d connections are held, sessions %q", n, held, busy)
		}
	}
	if n != 3*pageRows-1 {
		t.Errorf("%d rows", n)
	}
}

func TestPostgresRowsComeAndGo(t *testing.T) {
	pool, p := filled(t, 2*pageRows+100)
	exec(t, pool, "update users set id = -id", "update users set id = -10 * id")
	want := keysOf(inOneQuery(t, p))
	keys, err := midway(t, p, func() {
		exec(t, pool,
			fmt.Sprintf("delete from users where id in (10, %d, %d)", 10*pageRows, 10*(pageRows+5)),
			fmt.Sprintf("delete from users where id > %d", 20*pageRows),
			fmt.Sprintf("insert into users values (15, 'behind'), (%d, 'ahead'), (%d, 'in another segment')", 10*pageRows+15, 30*pageRows))
	})
	if err != nil {
		t.Fatal(err)
	}
	want = slices.DeleteFunc(want[:2*pageRows], func(key string) bool { return key == fmt.Sprint(10*(pageRows+5)) })
	exactlyOnce(t, keys, append(want, fmt.Sprint(10*pageRows+15)))
}

func TestPostgresAllRowsDeleted(t *testing.T) {
	pool, p := filled(t, 10)
	segments := cut(t, p)
	exec(t, pool, "delete from users")
	if keys, err := readError(t.Context(), p, segments[0]); len(keys) > 0 || err != nil {
		t.Errorf("%v, %v; want nothing", keys, err)
	}
}

func TestPostgresTableChangesMidway(t *testing.T) {
	for name, c := range map[string]struct{ sql, want string }{
		"table dropped":  {"drop table users", gone("users")},
		"token renamed":  {"alter table users rename token to t", `table "public"."users": a column is not there: ERROR: column t.token does not exist (SQLSTATE 42703)`},
		"key renamed":    {"alter table users rename id to k", `table "public"."users": a column is not there: ERROR: column t.id does not exist (SQLSTATE 42703)`},
		"key of a type":  {"alter table users alter id type text", `table "public"."users": a function or an operator is not there: ERROR: operator does not exist: text > bigint (SQLSTATE 42883)`},
		"key has no use": {"alter table users drop constraint users_pkey; insert into users table users", `table "public"."users": the key column "id" is not unique: two rows share a value`},
	} {
		t.Run(name, func(t *testing.T) {
			pool, p := filled(t, pageRows+10)
			if keys, err := midway(t, p, func() { exec(t, pool, c.sql) }); len(keys) != pageRows || !refused(err, c.want) {
				t.Errorf("after %d rows\n got %v\nwant %s", len(keys), err, c.want)
			}
		})
	}
}

// refused reports whether the error is a relation's and reads as wanted.
func refused(err error, want string) bool {
	_, ok := err.(*postgres.RelationError)
	return ok && err.Error() == want
}

func TestPostgresKeyGetsNulls(t *testing.T) {
	pool := database(t, `create table users (token text)`, `insert into users values ('a')`)
	p := resolve(t, pool, postgres.Wanted{Table: "users"})
	exec(t, pool, `insert into users values (null)`)
	if _, _, err := p.Next(t.Context(), pipeline.Segment{}); !refused(err, `table "public"."users": the key column "token" has nulls`) {
		t.Errorf("%v", err)
	}
}

// as is a pool of connections to the same database that act as the role.
func as(t *testing.T, pool *pgxpool.Pool, role string) *pgxpool.Pool {
	t.Helper()
	config := pool.Config()
	config.ConnConfig.RuntimeParams["role"] = role
	other, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	return other
}

func TestPostgresRightRevokedMidway(t *testing.T) {
	pool, _ := filled(t, pageRows+10)
	role := "bulksub_test_" + strings.ToLower(rand.Text())
	exec(t, pool, "create role "+role, "grant select on users to "+role)
	t.Cleanup(func() {
		if _, err := pool.Exec(context.Background(), "drop owned by "+role+"; drop role "+role); err != nil {
			t.Error(err)
		}
	})
	p := resolve(t, as(t, pool, role), postgres.Wanted{Table: "users"})
	keys, err := midway(t, p, func() { exec(t, pool, "revoke select on users from "+role) })
	want := `table "public"."users": this user may not read it; grant select on it, and usage on its schema: ERROR: permission denied for table users (SQLSTATE 42501)`
	if len(keys) != pageRows || !refused(err, want) {
		t.Errorf("after %d rows\n got %v\nwant %s", len(keys), err, want)
	}
}

// A database without an encoding can hold keys that the bounds of a segment, and
// a job's results, cannot. Its tokens are the pipeline's to judge.
func TestPostgresInvalidUTF8(t *testing.T) {
	pool := database(t)
	config := pool.Config()
	config.ConnConfig.Database += "_ascii"
	name := postgres.Quote(config.ConnConfig.Database)
	exec(t, pool, "create database "+name+" template template0 encoding 'SQL_ASCII' locale 'C'")
	ascii, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ascii.Close()
		if _, err := pool.Exec(context.Background(), "drop database "+name); err != nil {
			t.Error(err)
		}
	})
	exec(t, ascii, "create table users (id int primary key, token text not null unique)", `insert into users values (1, E'a\xff')`)
	testSource(t, resolve(t, ascii, postgres.Wanted{Table: "users"}), tokens("a\xff"))
	_, _, err = resolve(t, ascii, postgres.Wanted{Table: "users", KeyColumn: "token"}).Next(t.Context(), pipeline.Segment{})
	if !refused(err, `table "public"."users": the key column "token" is not valid UTF-8; name another with --key-column`) {
		t.Errorf("%v", err)
	}
}
