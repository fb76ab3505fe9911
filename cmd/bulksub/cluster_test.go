package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sourcegraph/conc/pool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// together runs the program in several processes at once, and returns their exit
// codes.
func (p *program) together(n int, args ...string) []int {
	runs := pool.NewWithResults[int]()
	for range n {
		runs.Go(func() int {
			code, _ := p.run(args...)
			return code
		})
	}
	return runs.Wait()
}

// calmRate lets a call go every half second: so much a busy machine may hold one up without the
// next one's place being taken.
const calmRate, calmCalls = 2000, 16

// endAtCall has all processes killed at a call.
func (p *program) endAtCall(n int64) {
	p.At(n, func(*os.Process) {
		for _, it := range p.Herd.All() {
			it.Kill()
		}
	})
}

// wantRate makes sure that the processes so far have kept to that rate together.
func (p *program) wantRate(codes []int) {
	p.t.Helper()
	if slices.ContainsFunc(codes, func(code int) bool { return code != trial.Killed }) {
		p.t.Errorf("ended with %v", codes)
	}
	if most := p.Service.PeakOps(time.Second); most > calmRate+1000 {
		p.t.Errorf("%d token operations within a second", most)
	}
}

// begunAtRate begins a job at the calm rate, which the processes must keep to together until all are killed.
func (p *program) begunAtRate(processes int, args ...string) {
	p.t.Helper()
	p.endAtCall(calmCalls)
	p.wantRate(p.together(processes, append(args, "--rate", fmt.Sprint(calmRate))...))
}

// TestOneRateForAll: no second sees more than the rate and one batch of all processes on one
// job (P5).
func TestOneRateForAll(t *testing.T) {
	t.Parallel()
	const rows, processes = 130_000, 3
	for _, command := range []string{"subscribe", "sync"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			p, db := newProgram(t, scriptFate), pgtest.New(t)
			fillTable(t, db, rows)
			args := append(onUsers(command, db), "--job", "it")
			p.begunAtRate(processes, args...)
			codes := p.together(processes, append(args, "--rate", "0")...)
			if slices.ContainsFunc(codes, func(code int) bool { return code != exitFailedRows }) {
				t.Errorf("ended with %v", codes)
			}
			var live []string
			for i := range rows {
				if status, _ := expected(iidtest.Token(1, i)); status == "ok" {
					live = append(live, iidtest.Token(1, i))
				}
			}
			if diff := firstDifference(p.Service.Subscribers("news"), live); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTwoJobsShareARate: what a project may do is not a job's own (P5).
func TestTwoJobsShareARate(t *testing.T) {
	t.Parallel()
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, calmCalls*1000)
	p.endAtCall(calmCalls)
	jobs := pool.NewWithResults[int]()
	for _, topic := range []string{"news", "sport"} {
		jobs.Go(func() int {
			code, _ := p.run("subscribe", "--topic", topic, "--table", "users", "--job", topic, "--rate", fmt.Sprint(calmRate),
				"--database-url", db.Config().ConnString())
			return code
		})
	}
	p.wantRate(jobs.Wait())
	for _, topic := range []string{"news", "sport"} {
		if p.Service.Count(topic) == 0 {
			t.Errorf("no call for %s: this proves nothing", topic)
		}
	}
}

// TestHowManyDoesNotMatter: one process or several, the results are the same, and so is what
// the service holds (P12). Each of several has a part in it.
func TestHowManyDoesNotMatter(t *testing.T) {
	t.Parallel()
	const rows = 160_000
	var first []string
	for _, processes := range []int{1, 2, 4} {
		p, db := newProgram(t, scriptFate), pgtest.New(t)
		fillTable(t, db, rows)
		ready := sync.OnceFunc(func() { await(t, db, processes, `select count(distinct owner) from bulksub.segments`) })
		p.Each(ready)
		ends := p.beginAll(processes, "subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--attempts", "2",
			"--database-url", db.Config().ConnString())
		for range processes {
			wantSame(t, exitFailedRows, <-ends)
		}
		results, err := sqlLines(db, "it")
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = slices.Clone(results)
		}
		if diff := firstDifference(results, first); diff != "" {
			t.Errorf("%d processes: %s", processes, diff)
		}
		if diff := disagreement(p.Service, "news", results, rows); diff != "" {
			t.Errorf("%d processes: %s", processes, diff)
		}
	}
}

// await asks until the number is reached.
func await(t *testing.T, db *pgxpool.Pool, want int, sql string) {
	for beat := time.Tick(20 * time.Millisecond); ; <-beat {
		var n int
		if err := db.QueryRow(context.Background(), sql).Scan(&n); err != nil {
			t.Error(err)
			return
		}
		if n >= want {
			return
		}
	}
}

// TestEightBeginAtOnce: on an empty database, eight processes that make the tables and then
// the job make one job and plan it once.
func TestEightBeginAtOnce(t *testing.T) {
	t.Parallel()
	const rows, processes = 2000, 8
	p, url := newProgram(t, scriptFate), pgtest.Empty(t)
	db, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fillTable(t, db, rows)
	all := pool.NewWithResults[ended]()
	for range processes {
		all.Go(func() (e ended) {
			if out, err := exec.Command("bulksub", "db", "migrate", "--database-url", url).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			e.code, e.summary = p.run("subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--attempts", "2", "--database-url", url)
			return e
		})
	}
	wantSame(t, exitFailedRows, all.Wait()...)
	var jobs int
	if err := db.QueryRow(t.Context(), `select count(*) from bulksub.jobs`).Scan(&jobs); err != nil || jobs != 1 {
		t.Errorf("%d jobs, %v", jobs, err)
	}
	p.wantResults("news", place{results: func() ([]string, error) { return sqlLines(db, "it") }}, rows)
}

// TestBrakeSeesAllProcesses: one process alone sees mostly rejects, the job as a
// whole has few.
func TestBrakeSeesAllProcesses(t *testing.T) {
	p, db := newProgram(t, func(token string) iidtest.Fate {
		if strings.HasPrefix(token, "rejected") {
			return iidtest.Invalid
		}
		return iidtest.Live
	}), pgtest.New(t)
	_, err := db.Exec(t.Context(), `
		create table users (id bigint primary key, token text);
		insert into users select n, case when n > 110000 then 'rejected' else 'taken' end || n from generate_series(1, 150000) n`)
	if err != nil {
		t.Fatal(err)
	}
	codes := p.together(3, "subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--database-url", db.Config().ConnString())
	if !slices.Equal(codes, []int{0, 0, 0}) {
		t.Errorf("ended with %v", codes)
	}
}

// TestProcessesPruneTogether: what several processes prune at the end of one job is
// pruned once, and each tells of all of it.
func TestProcessesPruneTogether(t *testing.T) {
	const rows = 120_000
	p, db := newProgram(t, scriptFate), pgtest.New(t)
	fillTable(t, db, rows)
	runs := pool.NewWithResults[summary]()
	for range 3 {
		runs.Go(func() summary {
			_, s := p.run("subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0", "--attempts", "1", "--prune", "delete",
				"--database-url", db.Config().ConnString())
			return s
		})
	}
	for _, s := range runs.Wait() {
		if s.Rows != rows || s.NotFound == 0 || s.Pruned != s.NotFound {
			t.Errorf("%+v", s)
		}
	}
	var archived, left, gone int64
	err := db.QueryRow(t.Context(), `
		select (select count(*) from bulksub.pruned), (select count(*) from users),
			(select count(*) from bulksub.results where status = 'not_found')`).Scan(&archived, &left, &gone)
	if err != nil || archived != gone || left != rows-gone {
		t.Errorf("%d archived, %d left, %d gone: %v", archived, left, gone, err)
	}
}
