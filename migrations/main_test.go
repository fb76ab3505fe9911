package migrations_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/migrations"
)

// childURL turns this test binary into a process that migrates one database and prints what it applied.
const childURL = "MIGRATIONS_TEST_CHILD_URL"

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		if err := migrateAsChild(context.Background(), url); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	pgtest.Main(m)
}

func migrateAsChild(ctx context.Context, url string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	applied, err := migrations.Migrate(ctx, pool)
	for _, name := range applied {
		fmt.Println(name)
	}
	return err
}

func emptyPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return poolOn(t, pgtest.Empty(t))
}

func poolOn(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func mustExec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func schemaExists(t *testing.T, pool *pgxpool.Pool) (exists bool) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `select to_regnamespace('bulksub') is not null`).Scan(&exists)
	if err != nil {
		t.Fatal(err)
	}
	return exists
}
