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
	*stage
	runs             []spent         // one of each round: the median where there were several
	first, resumed   []time.Duration // from the start to the first call: of a new job, and of one that was killed half-way
	before           float64         // bytes of log when the last run began
	ledger, log      float64         // bytes a row
	vacuums          int64           // that autovacuum made of the results
	dead             int64           // rows of the ledger that it has to remove after the purge
	purged, vacuumed time.Duration
}

// growths is how many rounds there are. In each, all tables have their turn, so that what is compared was measured within
// minutes; in the first one files and memory are new, which on a virtual machine can take longer than all else.
const growths = 3

// grow measures tables of more and more tokens, Postgres to Postgres, and prints a row for each.
func grow(ctx context.Context, sizes []int) error {
	var tables []*grown
	for _, rows := range sizes {
		s, err := build(ctx, rows, false)
		if err != nil {
			return fmt.Errorf("%d tokens: %w", rows, err)
		}
		defer s.close()
		tables = append(tables, &grown{stage: s})
	}
	for range growths {
		for _, g := range tables {
			if err := g.round(ctx); err != nil {
				return fmt.Errorf("%d tokens: %w", g.rows, err)
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tokens\ttokens/s\tof the first table\tCPU µs/token\tMiB\tfirst call\tof a resume\tledger B/row\tlog B/row\tvacuums\tdead rows\tpurge\tvacuum")
	for _, g := range tables {
		if err := g.lookBack(ctx); err != nil {
			return fmt.Errorf("%d tokens: %w", g.rows, err)
		}
		fmt.Fprintf(w, "%d\t%.0f\t%.2f\t%.2f\t%.0f\t%v\t%v\t%.0f\t%.0f\t%d\t%d\t%v\t%v\n", g.rows,
			median(growths, func(i int) float64 { return g.runs[i].rate }), median(growths, func(i int) float64 { return g.runs[i].rate / tables[0].runs[i].rate }),
			median(growths, func(i int) float64 { return g.runs[i].cpu }), median(growths, func(i int) float64 { return g.runs[i].memory }),
			middle(g.first).Round(time.Millisecond), middle(g.resumed).Round(time.Millisecond), g.ledger, g.log, g.vacuums, g.dead,
			g.purged.Round(10*time.Millisecond), g.vacuumed.Round(10*time.Millisecond))
	}
	return w.Flush()
}

// round measures the first calls, and how fast a job is. The table is read through before: after a larger one had its turn, a
// smaller one would have to come from the disk.
func (g *grown) round(ctx context.Context) error {
	first, resumed, err := g.firstCalls()
	if err != nil {
		return err
	}
	g.first, g.resumed = append(g.first, first), append(g.resumed, resumed)
	var runs []spent
	for range min(5, max(1, 10_000_000/g.rows)) { // a short run says little
		if err := do(ctx, g.url(), `select count(token) from bench`); err != nil {
			return err
		}
		if g.before, err = g.ask(ctx, `select (pg_current_wal_insert_lsn() - '0/0')::float8`); err != nil {
			return err
		}
		run, err := contenders[0].measure(g.stage, 0)
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	fmt.Fprintf(os.Stderr, "%d tokens: first calls after %v and %v; %.0f\n", g.rows, first, resumed, runs)
	slices.SortFunc(runs, func(a, b spent) int { return cmp.Compare(a.rate, b.rate) })
	g.runs = append(g.runs, runs[len(runs)/2])
	return nil
}

// lookBack asks the database what the job has left, and takes it away.
func (g *grown) lookBack(ctx context.Context) (err error) {
	var vacuums float64
	for _, figure := range []struct {
		to  *float64
		sql string
	}{
		{&g.log, `select (pg_current_wal_insert_lsn() - '0/0')::float8`},
		{&g.ledger, `select pg_total_relation_size('bulksub.records')::float8`},
		{&vacuums, `select autovacuum_count::float8 from pg_stat_all_tables where relid = 'bulksub.records'::regclass`},
	} {
		if *figure.to, err = g.ask(ctx, figure.sql); err != nil {
			return err
		}
	}
	g.log, g.ledger, g.vacuums = (g.log-g.before)/float64(g.rows), g.ledger/float64(g.rows), int64(vacuums)
	began := time.Now()
	if out, err := exec.Command(g.program, "jobs", "purge", "--older-than", "0s", "--database-url", g.url()).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	g.purged = time.Since(began)
	dead, err := g.ask(ctx, `
		select sum(n_dead_tup)::float8 from pg_stat_all_tables
		where relid in (select unnest(array[oid, reltoastrelid]) from pg_class where relnamespace = 'bulksub'::regnamespace)`)
	if err != nil {
		return err
	}
	g.dead = int64(dead)
	began = time.Now()
	if err := do(ctx, g.url(), `vacuum bulksub.records`); err != nil {
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
