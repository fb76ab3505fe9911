//go:build unix

package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/trial"
	"github.com/bulksub/bulksub/migrations"
)

// crowdStage is a server of its own with a table of users, so that all its connections are the processes'; watch looks
// on from another database.
func crowdStage(t *testing.T, rows int) (cluster *pgcluster.Cluster, db, watch *pgxpool.Pool) {
	t.Helper()
	cluster, err := pgcluster.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Stop() })
	db, watch = connected(t, cluster, "template1"), connected(t, cluster, "postgres")
	if _, err := migrations.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	fillTable(t, db, rows)
	return cluster, db, watch
}

// holding is for calls that wait for others to come, however slow the machine is.
const holding = "--timeout=10m"

// hold has all calls wait to be answered until they may go on, or the test ends.
func (p *program) hold() (goOn func()) {
	held := make(chan struct{})
	goOn = sync.OnceFunc(func() { close(held) })
	p.t.Cleanup(goOn)
	p.Each(func() { <-held })
	return goOn
}

// TestFiftyProcesses: fifty processes on one job, of which one has work, need a connection
// each and a statement a second each, and end together.
func TestFiftyProcesses(t *testing.T) {
	const rows, processes, seconds = 3000, 50, 6
	cluster, db, watch := crowdStage(t, rows)
	db.Close()

	p := newProgram(t, scriptFate)
	p.Binary = buildProgram(t)
	finish := p.hold()
	ends := p.beginAll(processes, "subscribe", "--topic", "news", "--table", "users", "--job", "it", "--attempts", "2", holding,
		"--database-url", cluster.URL("template1"))

	c := &crowd{t: t, db: watch}
	for c.look(); c.connections < processes; c.look() {
		if len(ends) > 0 {
			t.Fatalf("%d are connected when one ended: %+v", c.connections, <-ends)
		}
	}
	for settled := c.time; c.time.Sub(settled) < 4*time.Second; { // what they did at first is counted by then
		c.look()
	}
	before := *c
	for c.time.Sub(before.time) < seconds*time.Second {
		c.look()
	}
	took := c.time.Sub(before.time).Seconds()
	if statements := c.statements - before.statements; float64(statements) > processes*(took+2) || statements < processes {
		t.Errorf("%d statements in %.1f s", statements, took)
	}
	finish()
	for range processes {
		wantSame(t, exitFailedRows, <-ends)
	}
	if c.look(); c.most >= 60 {
		t.Errorf("%d connections", c.most)
	}
}

// cutFine has the users cut into segments of 500 for the jobs that there are, so that there is
// work for many.
const cutFine = `
	delete from bulksub.segments;
	update bulksub.jobs set planned = true;
	insert into bulksub.segments (job_id, number, bounds)
	select j.id, n, json_build_object('after', case when n > 1 then array[((n - 1) * 500)::text] end, 'to', array[(n * 500)::text])
	from bulksub.jobs j, (select generate_series(1, count(*) / 500) as n from users) as numbers`

// TestFiftyProcessesAtWork: fifty processes at work on two jobs of one database without a
// ceiling, one from a table and one from a query, need less than sixty connections from the
// first to the last. The calls of the first segments are held until all are at work.
func TestFiftyProcessesAtWork(t *testing.T) {
	const rows, processes = 40_000, 50
	cluster, db, watch := crowdStage(t, rows)

	p := newProgram(t, scriptFate)
	p.Binary = buildProgram(t)
	args := func(job string) []string {
		args := []string{"subscribe", "--topic", job, "--job", job, "--rate", "0", "--attempts", "2", holding, "--database-url", cluster.URL("template1")}
		if job == "query" {
			return append(args, "--query", "select * from users", "--key-column", "id")
		}
		return append(args, "--table", "users")
	}
	for _, job := range []string{"table", "query"} {
		p.endAtCall(1)
		if code, _ := p.run(args(job)...); code != trial.Killed {
			t.Fatalf("ended with %d", code)
		}
	}
	if _, err := db.Exec(t.Context(), cutFine); err != nil {
		t.Fatal(err)
	}
	db.Close()

	begin := p.hold()
	ends := []<-chan ended{p.beginAll(processes/2, args("table")...), p.beginAll(processes/2, args("query")...)}
	left := make(chan struct{})
	go func() {
		defer close(left)
		for range processes / 2 {
			wantSame(t, exitFailedRows, <-ends[0])
			wantSame(t, exitFailedRows, <-ends[1])
		}
	}()
	c := &crowd{t: t, db: watch}
	for begun := false; ; {
		select {
		case <-left:
			if !begun || c.most >= 60 {
				t.Errorf("%d connections", c.most)
			}
			return
		default:
		}
		if c.look(); !begun && c.connections >= processes {
			begun = true
			begin()
		}
	}
}

func connected(t *testing.T, cluster *pgcluster.Cluster, database string) *pgxpool.Pool {
	t.Helper()
	db, err := pgxpool.New(t.Context(), cluster.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// crowd is what a server sees of many processes, from another database.
type crowd struct {
	t           *testing.T
	db          *pgxpool.Pool
	time        time.Time // by its clock
	connections int
	most        int   // connections, ever
	statements  int64 // each in a transaction of its own
}

// look looks, a little later.
func (c *crowd) look() {
	c.t.Helper()
	err := c.db.QueryRow(context.Background(), `
		select clock_timestamp(), (select count(*) from pg_stat_activity where datname = 'template1'), xact_commit + xact_rollback
		from pg_stat_database, pg_sleep(0.02) where datname = 'template1'`).Scan(&c.time, &c.connections, &c.statements)
	if err != nil {
		c.t.Fatal(err)
	}
	c.most = max(c.most, c.connections)
}
