// Bench prints how many tokens a second bulksub subscribes, beside what users would write with Google's Go SDK and
// beside the floor: the same bytes moved with nothing done to them.
//
//	make bench ROWS=100000 RUNS=1
//
// The program, the service and PostgreSQL are processes of their own on this machine, without a limit of rate. The
// service answers that every token is ok and forgets them; with -remember it is bulksub's stand-in. All contenders take
// turns; what is printed is the median of the runs, and of the ratios within a run. The SDK is the last one that calls
// the Instance ID API, 4.21. It stands in a module of its own, so that bulksub's knows nothing of it. Package storage,
// below, compares ways of keeping results.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// options are how much is measured.
type options struct {
	rows, runs int
	latencies  []time.Duration
	remember   bool
}

func main() {
	if play := roles[os.Getenv("BENCH_ROLE")]; play != nil {
		if err := play(context.Background(), benchEnv()); err != nil {
			log.Fatal(err)
		}
		return
	}
	var o options
	latencies := flag.String("latency", "0s,50ms,200ms", "what the service waits before each reply, with commas between")
	sizes := flag.String("grow", "", "measure tables of so many tokens instead, with commas between")
	quota := flag.Duration("quota", 0, "measure for so long how much of a quota is used instead")
	flag.IntVar(&o.rows, "rows", 1_000_000, "tokens")
	flag.IntVar(&o.runs, "runs", 5, "how often each contender runs")
	flag.BoolVar(&o.remember, "remember", false, "compare with the stand-in answering the calls, which remembers every token")
	flag.Parse()
	for text := range strings.SplitSeq(*latencies, ",") {
		latency, err := time.ParseDuration(text)
		if err != nil {
			log.Fatal(err)
		}
		o.latencies = append(o.latencies, latency)
	}
	// Upon Ctrl-C the children end, and what was begun for them is removed.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var err error
	switch {
	case *sizes != "":
		err = growAll(ctx, *sizes)
	case *quota > 0:
		err = keepPaces(ctx, *quota)
	default:
		err = compare(ctx, o)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func growAll(ctx context.Context, list string) error {
	var sizes []int
	for text := range strings.SplitSeq(list, ",") {
		rows, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		sizes = append(sizes, rows)
	}
	return grow(ctx, sizes)
}

// compare prints a table for each latency, and one of the floor.
func compare(ctx context.Context, o options) error {
	s, err := build(ctx, o.rows, true)
	if err != nil {
		return err
	}
	defer s.close()
	s.remembers = o.remember
	t := newTable(o)
	for run := range o.runs {
		fmt.Fprintf(os.Stderr, "run %d of %d\n", run+1, o.runs)
		f, err := s.floor()
		if err != nil {
			return fmt.Errorf("the floor: %w", err)
		}
		t.floors = append(t.floors, f)
		for _, latency := range o.latencies {
			if err := round(s, t, latency); err != nil {
				return err
			}
		}
	}
	t.print(os.Stdout)
	return nil
}

// round lets each contender run once, against services that have seen nothing yet.
func round(s *stage, t *table, latency time.Duration) error {
	for i, c := range contenders {
		spent, err := c.measure(s, latency)
		if err != nil {
			return fmt.Errorf("%s at %s: %w", c.name, latency, err)
		}
		t.note(latency, i, spent)
	}
	return nil
}
