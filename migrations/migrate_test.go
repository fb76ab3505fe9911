package migrations_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/migrations"
)

// steps makes migrations 00001_step, 00002_step and so on of the given statements.
func steps(statements ...string) fs.FS {
	fsys := fstest.MapFS{}
	for i, sql := range statements {
		name := "0000" + string(rune('1'+i)) + "_step.sql"
		fsys[name] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql + ";\n")}
	}
	return fsys
}

func TestEightProcessesAtOnceOneApplies(t *testing.T) {
	url := pgtest.Empty(t)
	outputs := make([]string, 8)
	var processes errgroup.Group
	for i := range outputs {
		processes.Go(func() error {
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), childURL+"="+url)
			out, err := child.CombinedOutput()
			outputs[i] = string(out)
			return err
		})
	}
	if err := processes.Wait(); err != nil {
		t.Fatalf("%v: %q", err, outputs)
	}
	if all := strings.Join(outputs, ""); all != "00001_ledger\n" {
		t.Errorf("together they applied %q, want 00001_ledger once", all)
	}
	if err := migrations.Check(t.Context(), poolOn(t, url)); err != nil {
		t.Error(err)
	}
}

func TestMigrateAgainAppliesNothing(t *testing.T) {
	pool := emptyPool(t)
	for _, want := range []int{1, 0} {
		applied, err := migrations.Migrate(t.Context(), pool)
		if err != nil || len(applied) != want {
			t.Errorf("applied %v, %v; want %d", applied, err, want)
		}
	}
}

func TestMigrateLeavesThePoolAlone(t *testing.T) {
	cfg, err := pgxpool.ParseConfig(pgtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	held, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()

	if _, err := migrations.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	var timeout string
	if err := held.QueryRow(t.Context(), `show lock_timeout`).Scan(&timeout); err != nil || timeout != "0" {
		t.Errorf("lock_timeout of the pool is %s, %v; want 0", timeout, err)
	}
}

func TestFailureKeepsWhatWasApplied(t *testing.T) {
	pool := emptyPool(t)
	applied, err := migrations.MigrateFS(t.Context(), pool, steps(`create table bulksub.a ()`, `create table bulksub.a ()`))
	if err == nil || !slices.Equal(applied, []string{"00001_step"}) {
		t.Fatalf("applied %v, %v; want 00001_step and an error", applied, err)
	}
	applied, err = migrations.MigrateFS(t.Context(), pool, steps(`create table bulksub.a ()`, `create table bulksub.b ()`))
	if err != nil || !slices.Equal(applied, []string{"00002_step"}) {
		t.Errorf("after the repair: applied %v, %v; want 00002_step", applied, err)
	}
}

func TestWaitersDoNotBlockAnIndexBuiltConcurrently(t *testing.T) {
	pool := emptyPool(t)
	fsys := fstest.MapFS{"00001_index.sql": {Data: []byte(`-- +goose NO TRANSACTION
-- +goose Up
create table bulksub.a as select n from generate_series(1, 100000) n;
create index concurrently on bulksub.a (n);
`)}}
	var racers errgroup.Group
	for range 8 {
		racers.Go(func() error {
			_, err := migrations.MigrateFS(t.Context(), pool, fsys)
			return err
		})
	}
	if err := racers.Wait(); err != nil {
		t.Error(err)
	}
}

func TestLockedTableIsNamedAsTheCause(t *testing.T) {
	pool := emptyPool(t)
	first := `create table bulksub.a ()`
	if _, err := migrations.MigrateFS(t.Context(), pool, steps(first)); err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `lock table bulksub.a in access share mode`); err != nil {
		t.Fatal(err)
	}

	impatient := steps(first, `set local lock_timeout = '1ms'; alter table bulksub.a add b int`)
	_, err = migrations.MigrateFS(t.Context(), pool, impatient)
	if err == nil || !strings.Contains(err.Error(), "another session holds a lock") {
		t.Errorf("error %v does not name the lock", err)
	}
}

func TestWaitingForAnotherProcessEndsWithTheContext(t *testing.T) {
	pool := emptyPool(t)
	other, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	if _, err := other.Exec(t.Context(), `select pg_advisory_lock($1)`, migrations.LockID); err != nil {
		t.Fatal(err)
	}
	defer other.Exec(context.Background(), `select pg_advisory_unlock_all()`)

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := migrations.Migrate(ctx, pool); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
	if schemaExists(t, pool) {
		t.Error("something was applied without the lock")
	}
}

func TestRoleThatMayNotCreateSchemas(t *testing.T) {
	pool := emptyPool(t)
	role := "bulksub_test_" + strings.ToLower(rand.Text())
	mustExec(t, pool, `create role `+role)
	t.Cleanup(func() {
		pool.Exec(context.Background(), `drop owned by `+role+`; drop role `+role)
	})
	mustExec(t, pool, `create schema bulksub; grant usage, create on schema bulksub to `+role)

	cfg := pool.Config()
	cfg.ConnConfig.RuntimeParams["role"] = role
	limited, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer limited.Close()
	if _, err := migrations.Migrate(t.Context(), limited); err != nil {
		t.Error(err)
	}
}
