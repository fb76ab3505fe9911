// Storage measures ways of keeping results in Postgres: what a result costs the server when it is written, in CPU,
// write-ahead log and disk, and what reading it back takes. It starts a server of its own.
//
//	go run ./storage -rows 1000000 -runs 3
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/pgcluster"
)

// options are how much is measured.
type options struct{ rows, runs, commit int }

func main() {
	var o options
	flag.IntVar(&o.rows, "rows", 1_000_000, "results that are written")
	flag.IntVar(&o.runs, "runs", 3, "how often each is measured; the median counts")
	flag.IntVar(&o.commit, "commit", 4000, "results of a transaction")
	flag.Parse()
	if err := compare(context.Background(), o); err != nil {
		log.Fatal(err)
	}
}

// compare measures all shapes in turns, and prints the medians.
func compare(ctx context.Context, o options) error {
	seen := make([][]cost, len(shapes))
	for range o.runs {
		for i, s := range shapes {
			c, err := measure(ctx, s, o)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			seen[i] = append(seen[i], c)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\trows/s\tserver µs/row\tclient µs/row\tWAL B/row\tdisk B/row\t")
	for _, r := range reads {
		fmt.Fprint(w, r.name, " ms\t")
	}
	fmt.Fprintln(w)
	for i, s := range shapes {
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t", s.name, median(seen[i], func(c cost) float64 { return c.rate }),
			median(seen[i], func(c cost) float64 { return c.server }), median(seen[i], func(c cost) float64 { return c.client }),
			median(seen[i], func(c cost) float64 { return c.wal }), median(seen[i], func(c cost) float64 { return c.disk }))
		for n := range reads {
			fmt.Fprintf(w, "%.1f\t", median(seen[i], func(c cost) float64 { return c.reads[n] }))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func median(all []cost, of func(cost) float64) float64 {
	slices.SortFunc(all, func(a, b cost) int { return cmp.Compare(of(a), of(b)) })
	return of(all[len(all)/2])
}

// cost is what a shape takes, for each result; reads are in milliseconds.
type cost struct {
	rate, server, client, wal, disk float64
	reads                           []float64
}

// measure writes all results in a server that has done nothing else, and reads them.
func measure(ctx context.Context, s shape, o options) (c cost, err error) {
	cluster, err := pgcluster.Start(ctx, "full_page_writes=on", "max_wal_size=8GB", "autovacuum=off")
	if err != nil {
		return c, err
	}
	defer cluster.Stop()
	conn, err := pgx.Connect(ctx, cluster.URL("postgres"))
	if err != nil {
		return c, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, common+s.tables); err != nil {
		return c, err
	}
	if c, err = write(ctx, cluster, s, o); err != nil {
		return c, err
	}
	if err := conn.QueryRow(ctx, `select sum(pg_total_relation_size(oid)) / $1::float8 from pg_class where relnamespace = 'kept'::regnamespace and relkind = 'r'`,
		o.rows).Scan(&c.disk); err != nil {
		return c, err
	}
	if _, err := conn.Exec(ctx, `vacuum analyze`); err != nil {
		return c, err
	}
	for _, r := range reads {
		took, err := r.time(ctx, conn, s, o)
		if err != nil {
			return c, fmt.Errorf("%s: %w", r.name, err)
		}
		c.reads = append(c.reads, took.Seconds()*1000)
	}
	return c, nil
}
