package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
)

// grown is what a table of so many tokens costs.
type grown struct {
	rows             int
	run              spent         // the median
	first, resumed   time.Duration // from the start to the first call: of a new job, and of one that was killed half-way; medians
	ledger, log      float64       // bytes a row
	vacuums          int64         // that autovacuum made meanwhile of the results
	dead             int64         // rows of the ledger that it has to remove after the purge
	purged, vacuumed time.Duration
}

// grow measures tables of more and more tokens, Postgres to Postgres, and prints a row for each.
func grow(ctx context.Context, sizes []int) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tokens\ttokens/s\tCPU µs/token\tMiB\tfirst call\tof a resume\tledger B/row\tlog B/row\tvacuums\tdead rows\tpurge\tvacuum")
	for _, rows := range sizes {
		g, err := growTo(ctx, rows)
		if err != nil {
			return fmt.Errorf("%d tokens: %w", rows, err)
		}
		fmt.Fprintf(w, "%d\t%.0f\t%.2f\t%.0f\t%v\t%v\t%.0f\t%.0f\t%d\t%d\t%v\t%v\n", g.rows, g.run.rate, g.run.cpu, g.run.memory,
			g.first.Round(time.Millisecond), g.resumed.Round(time.Millisecond), g.ledger, g.log, g.vacuums, g.dead,
			g.purged.Round(10*time.Millisecond), g.vacuumed.Round(10*time.Millisecond))
		fmt.Fprintf(os.Stderr, "%+v\n", g)
	}
	return w.Flush()
}

// growths is how often each table is gone through: the first time, files and memory are new, which on a virtual machine
// can take longer than all else.
const growths = 3

func growTo(ctx context.Context, rows int) (g grown, err error) {
	s, err := build(ctx, rows, false)
	if err != nil {
		return g, err
	}
	defer s.close()
	g.rows = rows
	var first, resumed [growths]time.Duration
	for i := range growths {
		if first[i], resumed[i], err = s.firstCalls(); err != nil {
			return g, err
		}
	}
	fmt.Fprintf(os.Stderr, "%d tokens: first calls after %v, of a resume after %v\n", rows, first, resumed)
	g.first, g.resumed = slices.Sorted(slices.Values(first[:]))[growths/2], slices.Sorted(slices.Values(resumed[:]))[growths/2]
	vacuums, err := s.vacuums(ctx)
	if err != nil {
		return g, err
	}
	var all [growths]spent
	var before float64
	for i := range all {
		if before, err = s.ask(ctx, `select (pg_current_wal_insert_lsn() - '0/0')::float8`); err != nil {
			return g, err
		}
		if all[i], err = contenders[0].measure(s, 0); err != nil {
			return g, err
		}
		fmt.Fprintf(os.Stderr, "%d tokens: %+v\n", rows, all[i])
	}
	slices.SortFunc(all[:], func(a, b spent) int { return cmp.Compare(a.rate, b.rate) })
	g.run = all[growths/2]
	if g.vacuums, err = s.vacuums(ctx); err != nil {
		return g, err
	}
	g.vacuums -= vacuums
	return g, s.lookBack(ctx, &g, before)
}

// vacuums is how many autovacuum has made of the results.
func (s *stage) vacuums(ctx context.Context) (int64, error) {
	n, err := s.ask(ctx, `select autovacuum_count::float8 from pg_stat_all_tables where relid = 'bulksub.records'::regclass`)
	return int64(n), err
}

// lookBack asks the database what the job has left, and takes it away.
func (s *stage) lookBack(ctx context.Context, g *grown, before float64) (err error) {
	for _, figure := range []struct {
		to  *float64
		sql string
	}{
		{&g.log, `select (pg_current_wal_insert_lsn() - '0/0')::float8`},
		{&g.ledger, `select pg_total_relation_size('bulksub.records')::float8`},
	} {
		bytes, err := s.ask(ctx, figure.sql)
		if err != nil {
			return err
		}
		*figure.to = bytes
	}
	g.log, g.ledger = (g.log-before)/float64(g.rows), g.ledger/float64(g.rows)
	began := time.Now()
	if out, err := exec.Command(s.program, "jobs", "purge", "--older-than", "0s", "--database-url", s.url()).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	g.purged = time.Since(began)
	dead, err := s.ask(ctx, `
		select sum(n_dead_tup)::float8 from pg_stat_all_tables
		where relid in (select unnest(array[oid, reltoastrelid]) from pg_class where relnamespace = 'bulksub'::regnamespace)`)
	if err != nil {
		return err
	}
	g.dead = int64(dead)
	began = time.Now()
	if err := do(ctx, s.url(), `vacuum bulksub.records`); err != nil {
		return err
	}
	g.vacuumed = time.Since(began)
	return nil
}

// ask asks for a number.
func (s *stage) ask(ctx context.Context, sql string) (n float64, err error) {
	err = with(ctx, s.url(), func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql).Scan(&n) })
	return n, err
}

// firstCalls kills a job at its first call, then again half-way, and measures how long it and its next run take to their
// first call.
func (s *stage) firstCalls() (first, resumed time.Duration, err error) {
	if err := s.reset(0); err != nil {
		return 0, 0, err
	}
	defer s.stopServices()
	if first, err = s.until(1); err != nil {
		return 0, 0, err
	}
	if _, err = s.until(int64(s.rows / perCall / 2)); err != nil {
		return 0, 0, err
	}
	resumed, err = s.until(1)
	return first, resumed, err
}

// until runs the job up to its nth call, kills it, and says how long that took.
func (s *stage) until(n int64) (took time.Duration, err error) {
	to, err := url.Parse(s.endpoint)
	if err != nil {
		return 0, err
	}
	var calls atomic.Int64
	reached := make(chan time.Time, 1)
	proxy := &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		if strings.HasSuffix(r.In.URL.Path, "batchAdd") && calls.Add(1) == n {
			reached <- time.Now()
		}
	}}
	server := httptest.NewServer(proxy)
	defer server.Close()
	proxied := *s
	proxied.endpoint = server.URL
	cmd := contenders[0].command(&proxied, contenders[0].callers, s.rows)
	cmd.Dir, cmd.Stderr = s.dir, io.Discard
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case at := <-reached:
		cmd.Process.Kill()
		<-ended
		return at.Sub(began), nil
	case err := <-ended:
		return 0, fmt.Errorf("it ended before call %d: %w", n, err)
	}
}
