//go:build unix

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// TestFrozenProcess: one that is frozen for longer than its lease finds its segment done by
// another when it wakes. It sends nothing more, but for what it was just about to send, records
// nothing, says so, and ends as the other did (P9). It is frozen in its first call, when it has
// no transaction open.
func TestFrozenProcess(t *testing.T) {
	t.Parallel()
	const rows, concurrency = 20_000, 1
	p, db, g := newProgram(t, scriptFate), pgtest.New(t), newGateway(t)
	fillTable(t, db, rows)
	args := []string{"subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--attempts", "2", "--concurrency", "1",
		"--database-url", db.Config().ConnString()}
	asleep := make(chan *os.Process)
	p.At(1, func(it *os.Process) {
		it.Signal(syscall.SIGSTOP)
		asleep <- it
	})
	frozen := p.beginAll(1, append(args, "--pushgateway", g.URL)...)
	it := <-asleep
	other := <-p.beginAll(1, args...)
	calls := len(p.Service.Calls())
	it.Signal(syscall.SIGCONT)
	woken := <-frozen
	wantSame(t, exitFailedRows, other, woken)
	if n := len(p.Service.Calls()) - calls; n > concurrency {
		t.Errorf("it has sent %d calls since it woke", n)
	}
	if !strings.Contains(woken.said, `this process lost a segment: another process has taken it over, and records its rows" segment=1`) {
		t.Errorf("it said %q", woken.said)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if dropped := inPush(g.pushes[len(g.pushes)-1], "bulksub_dropped_rows_total"); !(dropped >= 1) {
		t.Errorf("%v rows were dropped", dropped)
	}
	p.wantResults("news", place{results: func() ([]string, error) { return sqlLines(db, "it") }}, rows)
}

// TestFrozenPlanner: one that is frozen while it plans a sync, with the lock under which all
// syncs are planned, holds the others up for no longer than the server waits for it. It is
// held in its last statement until it is frozen.
func TestFrozenPlanner(t *testing.T) {
	t.Parallel()
	const rows, membership = 2000, 0x62756c6b_73756201
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, rows)
	args := []string{"sync", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--attempts", "2", "--database-url", db.Config().ConnString()}
	key, err := db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lock := func(sql string) {
		if _, err := key.Exec(t.Context(), sql, membership); err != nil {
			t.Fatal(err)
		}
	}
	lock(`select pg_advisory_lock_shared($1)`)
	frozen := p.beginAll(1, args...)
	it := p.Herd.Take()
	await(t, db, 1, `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`)
	it.Signal(syscall.SIGSTOP)
	lock(`select pg_advisory_unlock_shared($1)`)
	key.Release()
	other := <-p.beginAll(1, args...)
	it.Signal(syscall.SIGCONT)
	wantSame(t, exitFailedRows, other, <-frozen)
	if n := p.Service.Ops(); n < rows || n > rows+rows/10 {
		t.Errorf("%d operations for %d rows", n, rows)
	}
}
