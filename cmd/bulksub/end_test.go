//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

// ended is how a process has ended.
type ended struct {
	code int
	summary
	said string
}

// beginAll runs the program in several processes, and hands out how each has ended, also one that ended its test.
func (p *program) beginAll(n int, args ...string) <-chan ended {
	ends := make(chan ended, n)
	for range n {
		go func() {
			var e ended
			var said bytes.Buffer
			defer func() {
				e.said = said.String()
				ends <- e
			}()
			e.code, e.summary = p.heard(&said, slices.Concat(args, []string{"--quiet"})...)
		}()
	}
	return ends
}

// ofTheJob is the summary without what is the run's own, as text.
func (e ended) ofTheJob() string {
	e.Requests, e.Retries, e.Seconds = 0, 0, 0
	var text strings.Builder
	e.summary.print(&text, true)
	return text.String()
}

// wantSame compares how processes of one job have ended.
func wantSame(t *testing.T, code int, all ...ended) {
	t.Helper()
	for _, e := range all {
		if e.code != code || e.ofTheJob() != all[0].ofTheJob() {
			t.Errorf("ended with %d, want %d: %s", e.code, code, e.ofTheJob())
		}
	}
}

// gate stops the pruning of users at one row until it is opened.
type gate struct {
	t  *testing.T
	db *pgxpool.Pool
	// open lets all pass.
	open func()
}

// newGate closes the way at the last row that is pruned of the first segment, so that
// chunks of it have been pruned before.
func newGate(t *testing.T, db *pgxpool.Pool) *gate {
	t.Helper()
	last := "0"
	for i := range 50_000 {
		if status, _ := expected(iidtest.Token(1, i)); status == "not_found" {
			last = max(last, strconv.Itoa(i+1))
		}
	}
	key, err := db.Acquire(t.Context())
	if err == nil {
		_, err = key.Exec(t.Context(), `
			select pg_advisory_lock(7);
			create function gate() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock_shared(7); return old; end $$;
			create trigger gate before delete on users for each row when (old.id = `+last+`) execute function gate()`)
	}
	if err != nil {
		t.Fatal(err)
	}
	open := sync.OnceFunc(func() {
		key.Exec(context.Background(), `select pg_advisory_unlock(7)`)
		key.Release()
	})
	t.Cleanup(open)
	return &gate{t: t, db: db, open: open}
}

// waiting waits until the pruning stands at the gate, and finds its process and its session.
func (g *gate) waiting() (it *os.Process, session int) {
	g.t.Helper()
	var address string
	for beat := time.Tick(20 * time.Millisecond); session == 0; <-beat {
		err := g.db.QueryRow(g.t.Context(), `
			select coalesce(min(pid), 0), (select coalesce(min(process), '') from bulksub.segments where number = 0)
			from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`).
			Scan(&session, &address)
		if err != nil {
			g.t.Fatal(err)
		}
	}
	number, err := strconv.Atoi(regexp.MustCompile(` (\d+)@`).FindStringSubmatch(address)[1])
	if err != nil {
		g.t.Fatal(err)
	}
	it, _ = os.FindProcess(number)
	return it, session
}

// wantPruned compares the archive with what was not found, and with what is left in the table.
func wantPruned(t *testing.T, db *pgxpool.Pool, rows int) {
	t.Helper()
	var archived, different, left, gone, ends int
	err := db.QueryRow(t.Context(), `
		select (select count(*) from bulksub.pruned), (select count(distinct row_key) from bulksub.pruned), (select count(*) from users),
			(select count(*) from bulksub.results where status = 'not_found'), (select ended from bulksub.jobs)`).
		Scan(&archived, &different, &left, &gone, &ends)
	if err != nil || archived != gone || different != gone || left != rows-gone || gone == 0 || ends != 1 {
		t.Errorf("%d are archived, %d of them different, %d left, %d gone; the end was reached %d times: %v", archived, different, left, gone, ends, err)
	}
}

func pruning(db *pgxpool.Pool) []string {
	return append(onUsers("subscribe", db), "--rate", "0", "--prune", "delete")
}

// pruneToGate begins processes that subscribe tokens of a new table and prune it, up to a gate.
func pruneToGate(t *testing.T, rows, processes int, flags ...string) (p *program, g *gate, ends <-chan ended) {
	t.Helper()
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, rows)
	g = newGate(t, db)
	return p, g, p.beginAll(processes, append(pruning(db), flags...)...)
}

// TestPrunerIsKilled: of several processes one prunes, and when it is killed in the middle
// another does the rest. All that are left tell the same.
func TestPrunerIsKilled(t *testing.T) {
	t.Parallel()
	const rows, processes = 60_000, 3
	p, g, ends := pruneToGate(t, rows, processes, "--job", "it")
	it, _ := g.waiting()
	var archived int
	if err := g.db.QueryRow(t.Context(), `select count(*) from bulksub.pruned`).Scan(&archived); err != nil || archived == 0 {
		t.Fatalf("%d were archived before: this proves nothing: %v", archived, err)
	}
	it.Kill()
	if e := <-ends; e.code != -1 {
		t.Fatalf("the first to end has ended with %d: %s", e.code, e.said)
	}
	g.open()
	wantSame(t, exitFailedRows, <-ends, <-ends)
	wantPruned(t, g.db, rows)
	p.wantResults("news", place{results: func() ([]string, error) { return sqlLines(g.db, "it") }}, rows)
}

// TestWaitingIsTerminated: a process that waits for the end of the job ends at the first signal,
// and the job ends without it.
func TestWaitingIsTerminated(t *testing.T) {
	t.Parallel()
	const rows = 60_000
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, rows)
	g := newGate(t, db)
	begun := make(chan *os.Process, 2)
	p.Joins, p.Leaves = func(it *os.Process) { begun <- it }, func(*os.Process) {}
	ends := p.beginAll(2, append(pruning(db), "--job", "it")...)
	pruner, _ := g.waiting()
	for range 2 {
		if it := <-begun; it.Pid != pruner.Pid {
			it.Signal(syscall.SIGTERM)
		}
	}
	if e := <-ends; e.code != exitTerminated || e.State != stateStopped {
		t.Errorf("ended with %d: %s", e.code, e.ofTheJob())
	}
	g.open()
	wantSame(t, exitFailedRows, <-ends)
	wantPruned(t, db, rows)
}

// TestPrunerIsTerminated: a process that prunes ends at the first signal, and says no more than its summary; the same
// command prunes the rest.
func TestPrunerIsTerminated(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	p, g, ends := pruneToGate(t, rows, 1)
	it, _ := g.waiting()
	it.Signal(syscall.SIGTERM)
	if e := <-ends; e.code != exitTerminated || e.State != stateStopped || e.said != "" {
		t.Errorf("ended with %d: %s%s", e.code, e.ofTheJob(), e.said)
	}
	g.open()
	if code, s := p.run(pruning(g.db)...); code != exitFailedRows || s.Pruned != s.NotFound {
		t.Errorf("ended with %d: %+v", code, s)
	}
	wantPruned(t, g.db, rows)
}

// TestCancelEndsThePruning: all processes of a job that is cancelled while it prunes end, and what is pruned stays so.
func TestCancelEndsThePruning(t *testing.T) {
	t.Parallel()
	const rows = 60_000
	p, g, ends := pruneToGate(t, rows, 2, "--job", "it")
	g.waiting()
	jobs(t, g.db, "cancel", "it")
	wantSame(t, exitBrake, <-ends, <-ends)
	g.open()
	jobs(t, g.db, "continue", "it")
	if code, s := p.run(append(pruning(g.db), "--job", "it")...); code != exitFailedRows || s.Pruned != s.NotFound {
		t.Errorf("ended with %d: %+v", code, s)
	}
	wantPruned(t, g.db, rows)
}

// TestKilledPrunerGoesOn: the same command again prunes the rest, also without a name.
func TestKilledPrunerGoesOn(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	p, g, ends := pruneToGate(t, rows, 1)
	it, _ := g.waiting()
	it.Kill()
	<-ends
	g.open()
	calls := len(p.Service.Calls())
	if code, s := p.run(pruning(g.db)...); code != exitFailedRows || s.Pruned != s.NotFound || s.Rows != rows {
		t.Errorf("ended with %d: %+v", code, s)
	}
	wantPruned(t, g.db, rows)
	if n := len(p.Service.Calls()) - calls; n > 1 {
		t.Errorf("%d calls for rows that had a result", n)
	}
}

// TestFrozenPruner: a process that is frozen in the middle, for longer than its lease, and
// whose session ends meanwhile, prunes nothing when it wakes; it says so, and tells what the
// others tell (P9).
func TestFrozenPruner(t *testing.T) {
	t.Parallel()
	const rows, processes = 60_000, 3
	_, g, ends := pruneToGate(t, rows, processes, "--job", "it")
	it, session := g.waiting()
	it.Signal(syscall.SIGSTOP)
	if _, err := g.db.Exec(t.Context(), `select pg_terminate_backend($1, 10000)`, session); err != nil {
		t.Error(err)
	}
	g.open()
	others := []ended{<-ends, <-ends}
	wantSame(t, exitFailedRows, others...)
	wantPruned(t, g.db, rows)
	it.Signal(syscall.SIGCONT)
	woken := <-ends
	wantSame(t, exitFailedRows, append(others, woken)...)
	wantPruned(t, g.db, rows)
	if !strings.Contains(woken.said, "this process lost the end of the job: another process has taken it over") {
		t.Errorf("it said %q", woken.said)
	}
}

// TestOneIsAskedForMore: a process that was asked to verify and to prune does so, though another that
// was asked for neither has ended the job meanwhile. It is frozen in its first call until then.
func TestOneIsAskedForMore(t *testing.T) {
	t.Parallel()
	const rows, sample = 20_000, 100
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, rows)
	asleep := make(chan *os.Process)
	p.At(1, func(it *os.Process) {
		it.Signal(syscall.SIGSTOP)
		asleep <- it
	})
	more := p.beginAll(1, append(pruning(db), "--job", "it", "--verify", fmt.Sprint(sample))...)
	it := <-asleep
	if _, err := db.Exec(t.Context(), `update bulksub.segments set lease_end = clock_timestamp() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	less := <-p.beginAll(1, append(pruning(db), "--job", "it", "--prune", "off")...)
	it.Signal(syscall.SIGCONT)
	woken := <-more
	if less.code != exitFailedRows || less.Pruned != 0 || less.Verified != nil {
		t.Errorf("the one that was asked for less: %d, %s", less.code, less.ofTheJob())
	}
	if v := woken.Verified; woken.code != exitFailedRows || woken.NotFound == 0 || woken.Pruned != woken.NotFound || v == nil || v.Agree != sample {
		t.Errorf("the one that was asked for more: %d, %s", woken.code, woken.ofTheJob())
	}
	var archived, left int64
	err := db.QueryRow(t.Context(), `select (select count(*) from bulksub.pruned), (select count(*) from users)`).Scan(&archived, &left)
	if err != nil || archived != woken.NotFound || left != rows-archived {
		t.Errorf("%d are archived, %d left: %v", archived, left, err)
	}
}

// TestBrakeAtTheEndIsEverybodys: what stops one process of a job at its end stops all, and
// what is asked of the service there is asked once.
func TestBrakeAtTheEndIsEverybodys(t *testing.T) {
	t.Parallel()
	const rows, processes, sample = 60_000, 3, 100
	for name, test := range map[string]struct {
		args   []string
		faults []iidtest.Plan
		code   int
	}{
		"prune brake":    {args: []string{"--prune", "delete", "--prune-max", "1%"}, code: exitBrake},
		"nothing learnt": {args: []string{"--verify", fmt.Sprint(sample), "--prune", "delete"}, faults: faults(t, "403@/iid/info"), code: exitBrake},
		"all agree":      {args: []string{"--verify", fmt.Sprint(sample)}, code: exitFailedRows},
	} {
		t.Run(name, func(t *testing.T) {
			p, db, g := newProgram(t, scriptFate), pgtest.New(t), newGateway(t)
			fillTable(t, db, rows)
			p.Service.SetFaults(test.faults...)
			args := append(pruning(db), append(test.args, "--job", "it", "--pushgateway", g.URL)...)
			if !slices.Contains(test.args, "--prune") {
				args = append(args, "--prune", "off")
			}
			ends := p.beginAll(processes, args...)
			all := []ended{<-ends, <-ends, <-ends}
			wantSame(t, test.code, all...)
			looked := 0
			for _, call := range p.Service.Calls() {
				if call.Endpoint == "info" {
					looked++
				}
			}
			if verified := all[0].Verified; verified != nil && (looked != sample || verified.Rows != sample) {
				t.Errorf("%d were looked up, and %+v is told", looked, verified)
			}
			held := len(slices.DeleteFunc(g.pushes, func(push string) bool { return inPush(push, "bulksub_prune_held_back") != 1 }))
			if want := map[string]int{"prune brake": processes}[name]; held != want {
				t.Errorf("%d have pushed that the brake has held back, want %d", held, want)
			}
			for _, e := range all {
				if test.code == exitBrake && (e.State != stateBraked || e.Pruned != 0 || !strings.Contains(e.said, "bulksub: ")) {
					t.Errorf("%+v, and said %q", e.summary, e.said)
				}
			}
		})
	}
}

func faults(t *testing.T, text string) []iidtest.Plan {
	t.Helper()
	plan, err := iidtest.ParseFault(text)
	if err != nil {
		t.Fatal(err)
	}
	return []iidtest.Plan{plan}
}
