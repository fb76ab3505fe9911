package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// table is what all runs have taken.
type table struct {
	options
	floors []floor
	spent  map[time.Duration][][]spent // by contender, and run
}

func newTable(o options) *table {
	t := &table{options: o, spent: make(map[time.Duration][][]spent)}
	for _, latency := range o.latencies {
		t.spent[latency] = make([][]spent, len(contenders))
	}
	return t
}

func (t *table) note(latency time.Duration, contender int, s spent) {
	all := t.spent[latency]
	all[contender] = append(all[contender], s)
}

// print prints medians. A ratio is the median of those of each run.
func (t *table) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d tokens, median of %d\tcallers\tlatency\ttokens/s\tCPU µs/token\tMiB\tof the floor\tof the SDK, 16\n", t.rows, t.runs)
	for _, step := range []struct {
		name string
		of   func(floor) float64
	}{
		{"COPY out", func(f floor) float64 { return f.Out }},
		{"bodies over a socket", func(f floor) float64 { return f.Calls }},
		{"COPY in", func(f floor) float64 { return f.In }},
		{"the floor: one after the other", func(f floor) float64 { return f.After }},
		{"the three together", func(f floor) float64 { return f.Together }},
	} {
		fmt.Fprintf(w, "%s\t\t\t%.0f\t\t\t%.2f\t\n", step.name, median(t.runs, func(run int) float64 { return step.of(t.floors[run]) }),
			median(t.runs, func(run int) float64 { return step.of(t.floors[run]) / t.floors[run].After }))
	}
	for _, latency := range t.latencies {
		for i, c := range contenders {
			all, other := t.spent[latency][i], t.spent[latency][beside]
			fmt.Fprintf(w, "%s\t%d\t%s\t%.0f\t%.1f\t%.0f\t%.2f\t%.2f\n", c.name, c.callers, latency,
				median(t.runs, func(run int) float64 { return all[run].rate }), median(t.runs, func(run int) float64 { return all[run].cpu }),
				median(t.runs, func(run int) float64 { return all[run].memory }), median(t.runs, func(run int) float64 { return all[run].rate / t.floors[run].After }),
				median(t.runs, func(run int) float64 { return all[run].rate / other[run].rate }))
		}
	}
	w.Flush()
}

// median is that of a figure of each run.
func median(runs int, of func(run int) float64) float64 {
	all := make([]float64, runs)
	for run := range all {
		all[run] = of(run)
	}
	return middle(all)
}

// middle is the median.
func middle[T cmp.Ordered](all []T) T { return slices.Sorted(slices.Values(all))[len(all)/2] }
