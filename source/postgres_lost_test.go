package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/postgres"
)

// terminate ends the other sessions of the database for which the condition on
// pg_stat_activity holds, and waits until there was one or until over is closed.
func terminate(t *testing.T, killer *pgx.Conn, condition string, over <-chan struct{}) {
	t.Helper()
	for killed := 0; killed == 0; {
		select {
		case <-over:
			t.Error("the reader ended before there was a session to terminate")
			return
		default:
		}
		err := killer.QueryRow(t.Context(), `
			select count(*) filter (where pg_terminate_backend(pid, 10000)) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and `+condition).Scan(&killed)
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func TestPostgresSessionLostBetweenPages(t *testing.T) {
	pool, p := filled(t, 2*pageRows+10)
	killer := beside(t, pool)
	want := keysOf(inOneQuery(t, p))
	keys, err := midway(t, p, func() { terminate(t, killer, "true", nil) })
	if err != nil {
		t.Fatal(err)
	}
	exactlyOnce(t, keys, want)
}

// The session is lost when a part of the second page has come: a lock holds the
// rest of it.
func TestPostgresSessionLostWithinAPage(t *testing.T) {
	pool, _ := filled(t, 2*pageRows+10)
	exec(t, pool, fmt.Sprintf(`
		create function gate(id bigint, token text) returns text stable language plpgsql as $$ begin
			if id = %d then perform pg_advisory_xact_lock_shared(7); end if;
			return token;
		end $$`, 2*pageRows-10))
	p := resolve(t, pool, postgres.Wanted{Query: "select id, gate(id, token) as token from users", KeyColumn: "id"})
	want := keysOf(inOneQuery(t, p))
	killer := beside(t, pool)
	over, done := make(chan struct{}), make(chan struct{})
	keys, err := midway(t, p, func() {
		exec(t, killer, "select pg_advisory_lock(7)")
		go func() {
			defer close(done)
			terminate(t, killer, "wait_event = 'advisory'", over)
			if _, err := killer.Exec(t.Context(), "select pg_advisory_unlock(7)"); err != nil {
				t.Error(err)
			}
		}()
	})
	close(over)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	exactlyOnce(t, keys, want)
}

// The connection leads nowhere any more when a part of the second page has come.
func TestPostgresBlackHoleWithinAPage(t *testing.T) {
	pool, p := filled(t, 2*pageRows+10)
	want := keysOf(inOneQuery(t, p))
	hole := &hole{after: 50_000}
	config := pool.Config()
	config.ConnConfig.DialFunc = hole.dial(config.ConnConfig.DialFunc)
	holed, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer holed.Close()
	p.pool, p.retry.Timeout = holed, time.Second
	keys, err := midway(t, p, func() {
		hole.open.Store(true)
		holed.Reset()
	})
	if err != nil {
		t.Fatal(err)
	}
	exactlyOnce(t, keys, want)
	if got := hole.passed.Load(); got != hole.after {
		t.Errorf("%d bytes came through before there was nothing, want %d", got, hole.after)
	}
}

// hole makes one connection of which the server's words come through for some bytes, and then no
// more, until the reader has given up.
type hole struct {
	after  int64
	open   atomic.Bool  // the next connection is it
	passed atomic.Int64 // bytes
}

func (h *hole) dial(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		server, err := dial(ctx, network, address)
		if err != nil || !h.open.CompareAndSwap(true, false) {
			return server, err
		}
		here, there := net.Pipe()
		go func() {
			defer server.Close()
			io.Copy(server, there)
		}()
		go func() {
			n, _ := io.CopyN(there, server, h.after)
			h.passed.Store(n)
			io.Copy(io.Discard, server)
			there.Close()
		}()
		return here, nil
	}
}

// clustered is a source of n rows in a cluster of its own. failed gets a value
// when a connection could not be made.
func clustered(t *testing.T, n int) (*pgcluster.Cluster, *Postgres, <-chan struct{}) {
	t.Helper()
	cluster, err := pgcluster.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	config, err := pgxpool.ParseConfig(cluster.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan struct{}, 1)
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			select {
			case failed <- struct{}{}:
			default:
			}
		}
		return conn, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	exec(t, pool, "create table users (id bigint primary key, token text)", fmt.Sprintf("insert into users select g, 't' || g from generate_series(1, %d) g", n))
	return cluster, resolve(t, pool, postgres.Wanted{Table: "users"}), failed
}

func TestPostgresServerComesBack(t *testing.T) {
	cluster, p, failed := clustered(t, 2*pageRows+10)
	want := keysOf(inOneQuery(t, p))
	done := make(chan error, 1)
	keys, err := midway(t, p, func() {
		cluster.StopImmediate()
		go func() {
			<-failed
			done <- cluster.Restart(t.Context())
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	exactlyOnce(t, keys, want)
	if segments := cut(t, p); len(segments) != 1 {
		t.Errorf("%d segments after the restart", len(segments))
	}
}

func TestPostgresServerStaysAway(t *testing.T) {
	cluster, p, _ := clustered(t, 2*pageRows+10)
	p.retry.Patience = time.Millisecond
	keys, err := midway(t, p, cluster.StopImmediate)
	if _, flaw := err.(*postgres.RelationError); err == nil || flaw || !postgres.Passes(err) {
		t.Errorf("%v, want an error that passes when the database is there again", err)
	}
	if len(keys) != pageRows {
		t.Errorf("%d rows came before it, want a page", len(keys))
	}
}

func TestPostgresEndsWithTheContext(t *testing.T) {
	pool, p := filled(t, 2*pageRows)
	segment := cut(t, p)[0]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read := 0
	var last error
	for _, err := range p.Rows(ctx, segment) {
		if read++; read == 10 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) || read != pageRows+1 {
		t.Errorf("%d rows and %v after the context had ended at row 10", read, last)
	}
	if held := pool.Stat().AcquiredConns(); held != 0 {
		t.Errorf("%d connections are held", held)
	}
}
