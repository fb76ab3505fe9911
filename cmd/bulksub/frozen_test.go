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
	if !strings.Contains(woken.said, `a segment was lost: another process has taken it over; its rows are recorded there" segment=1`) {
		t.Errorf("it said %q", woken.said)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if dropped := inPush(g.pushes[len(g.pushes)-1], "bulksub_dropped_rows_total"); !(dropped >= 1) {
		t.Errorf("%v rows were dropped", dropped)
	}
	p.wantResults("news", place{results: func() ([]string, error) { return sqlLines(db, "it") }}, rows)
}
