package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

func showCommand() *cobra.Command {
	var l ledgerFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show JOB",
		Short: "Show everything that is known of a job",
		Args:  oneJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withJob(cmd, l, args[0], func(ctx context.Context, pool *pgxpool.Pool, j sink.Job) error {
				whole, err := lookAt(ctx, pool, j)
				if err != nil {
					return err
				}
				return whole.print(cmd.OutOrStdout(), asJSON)
			})
		},
	}
	l.addDatabase(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "as one JSON object")
	return cmd
}

// wholeJob is everything about a job.
type wholeJob struct {
	jobView
	Paused   bool          `json:"paused"`
	API      string        `json:"api,omitempty"`
	Line     string        `json:"line,omitempty"`
	Asked    sink.Asked    `json:"asked"`
	Segments sink.Segments `json:"segments"`
	Holders  []sink.Holder `json:"holders"`
	Verified *verification `json:"verified,omitempty"`
	Trouble  *trouble      `json:"trouble,omitempty"` // at its end
}

func lookAt(ctx context.Context, pool *pgxpool.Pool, j sink.Job) (*wholeJob, error) {
	found, err := sink.Overviews(ctx, pool, j.Name, 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, usagef("job %s has just been purged", j.Name)
	}
	o := found[0]
	w := &wholeJob{jobView: viewOf(o), API: o.API, Paused: o.Paused, Asked: o.Asked, Segments: o.Segments}
	if o.Line != nil {
		var kept line
		if err := json.Unmarshal(o.Line, &kept); err == nil {
			w.Line = kept.String()
		}
	}
	if o.Outcome != nil {
		var kept outcome
		if err := json.Unmarshal(o.Outcome, &kept); err == nil && kept.Summary != nil {
			w.Verified, w.Trouble = kept.Summary.Verified, kept.Trouble
		}
	}
	w.Holders, err = sink.Holders(ctx, pool, j)
	return w, err
}

func (j *wholeJob) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(j)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(table, "%s\t%s\n", name, value) }
	line("job", j.Job)
	line("state", j.State)
	line("progress", j.progress())
	line("created", shownTime(&j.Created))
	line("finished", shownTime(j.Finished))
	line("rate", shownRate(j.Rate))
	line("api", cmp.Or(j.API, "-"))
	line("line", j.Line)
	line("asked", "")
	for _, key := range slices.Sorted(maps.Keys(j.Asked)) {
		if j.Asked[key] != "" {
			line("  "+key, j.Asked[key])
		}
	}
	line("segments", fmt.Sprintf("%s done of %s%s", thousands(j.Segments.Done), thousands(j.Segments.Cut), map[bool]string{false: " cut so far"}[j.Segments.Planned]))
	for _, h := range j.Holders {
		line("  held", fmt.Sprintf("%s by process %s, until %s unless renewed", thousands(h.Segments), h.Process, shownTime(&h.Lease)))
	}
	line("rows", thousands(j.Rows))
	for _, s := range pipeline.Statuses {
		line("  "+string(s), thousands(j.Results[s]))
	}
	line("pruned", thousands(j.Pruned))
	if j.Verified != nil {
		line("verified", j.Verified.String())
	}
	if j.Trouble != nil {
		line("at its end", j.Trouble.Words)
	}
	return table.Flush()
}

func shownRate(rate *float64) string {
	switch {
	case rate == nil:
		return "as each process was started"
	case *rate == 0:
		return "no ceiling"
	default:
		return fmt.Sprintf("%g", *rate)
	}
}
