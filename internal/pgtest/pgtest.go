// Package pgtest gives every test a fresh, migrated database on a real PostgreSQL server.
//
// A test binary runs one throw-away server (package pgcluster), migrates one template database, and copies it for each
// test: half a second once, some 50 ms a test. With TEST_DATABASE_URL set, the databases are made in that server
// instead, under names that begin with bulksub_test_, and dropped afterwards. A machine without PostgreSQL fails the
// test: what is not tested must not look tested.
//
// Every package that uses it hands its TestMain to [Main]:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		pool := pgtest.New(t)
//		...
//	}
package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Execer runs SQL: a pool, a connection or a transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// New returns a pool on a migrated database that is the test's own. Both are gone after the test, which must have
// released every connection by then: closing the pool waits for them. Tests that use it may run in parallel.
func New(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	return open(tb, URL(tb))
}

// URL is [New] for tests that connect by themselves. Connections still open after the test are cut.
func URL(tb testing.TB) string {
	tb.Helper()
	s := mustServer(tb)
	return fresh(tb, s, s.template)
}

// Empty returns the URL of a database of the test's own that has never been migrated.
func Empty(tb testing.TB) string {
	tb.Helper()
	return fresh(tb, mustServer(tb), "template1")
}

func mustServer(tb testing.TB) *server {
	tb.Helper()
	s, err := shared()
	if err != nil {
		tb.Fatalf("this test needs PostgreSQL, from TEST_DATABASE_URL or installed here: %v", err)
	}
	return s
}

func fresh(tb testing.TB, s *server, template string) string {
	tb.Helper()
	name, err := s.create(tb.Context(), template)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// The test's own context has ended by now.
		if err := s.drop(context.Background(), name); err != nil {
			tb.Error(err)
		}
	})
	return s.url(name)
}

func open(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}
