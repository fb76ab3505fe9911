package postgres

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
)

func acquire(t *testing.T, pool *pgxpool.Pool) *pgxpool.Conn {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// wantFull makes sure that nobody else gets a connection.
func wantFull(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if conn, err := pool.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		conn.Release()
		t.Errorf("there is room for one more: %v", err)
	}
}

func TestAllow(t *testing.T) {
	pool, err := Connect(t.Context(), pgtest.URL(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	first := acquire(t, pool)
	wantFull(t, pool)
	Allow(pool, 3)
	second, third := acquire(t, pool), acquire(t, pool)
	wantFull(t, pool)
	Allow(pool, 1)
	first.Release()
	second.Release()
	wantFull(t, pool)
	third.Release()
	first = acquire(t, pool)
	wantFull(t, pool)
	first.Release()
	for beat := time.Tick(time.Millisecond); pool.Stat().TotalConns() > 1; { // they close in the background
		<-beat
	}
	Allow(pool, 4)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if _, err := pool.Exec(t.Context(), `select pg_sleep(0.001)`); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := pool.Stat().TotalConns(); n < 2 || n > 4 {
		t.Errorf("%d connections", n)
	}
}

// TestSeatOfALostConnection: a connection that cannot be had takes up no room.
func TestSeatOfALostConnection(t *testing.T) {
	pool, err := Connect(t.Context(), pgtest.URL(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * MostConnections {
		if _, err := pool.Exec(cancelled, `select 1`); err == nil {
			t.Fatal("a cancelled context gets a connection")
		}
		if _, err := pool.Exec(t.Context(), `select pg_terminate_backend(pg_backend_pid())`); err == nil {
			t.Fatal("the session has outlived itself")
		}
	}
	acquire(t, pool).Release()
}

func TestAllowLeavesWhatTheURLSays(t *testing.T) {
	pool, err := Connect(t.Context(), with(t, pgtest.URL(t), "pool_max_conns", "2"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	Allow(pool, 1)
	defer acquire(t, pool).Release()
	acquire(t, pool).Release()
}

// TestAside: what cannot wait does not wait for a page that takes long.
func TestAside(t *testing.T) {
	pool, err := Connect(t.Context(), pgtest.URL(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	sessions := make(map[uint32]bool)
	ask := func() {
		err := Aside(t.Context(), pool, 10*time.Millisecond, func(db Querier) error {
			var session uint32
			err := db.QueryRow(t.Context(), `select pg_backend_pid()`).Scan(&session)
			sessions[session] = true
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	ask()
	page := acquire(t, pool)
	if ask(); len(sessions) != 2 {
		t.Errorf("sessions %v", sessions)
	}
	page.Release()
	if ask(); len(sessions) != 2 || !sessions[acquirePID(t, pool)] || pool.Stat().TotalConns() != 1 {
		t.Errorf("sessions %v", sessions)
	}
}

func acquirePID(t *testing.T, pool *pgxpool.Pool) uint32 {
	conn := acquire(t, pool)
	defer conn.Release()
	return conn.Conn().PgConn().PID()
}
