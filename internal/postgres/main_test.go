package postgres

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

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

// stranger is a connection of a role that owns nothing. The role's name comes
// back quoted.
func stranger(t *testing.T, pool *pgxpool.Pool) (conn *pgxpool.Conn, role string) {
	t.Helper()
	role = Quote("bulksub_test_" + strings.ToLower(rand.Text()))
	exec(t, pool, "create role "+role)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "set role "+role)
	t.Cleanup(func() {
		if _, err := conn.Exec(context.Background(), "reset role; drop owned by "+role+"; drop role "+role); err != nil {
			t.Error(err)
		}
		conn.Release()
	})
	return conn, role
}
