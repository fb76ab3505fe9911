package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/migrations"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

func jobsCommand() *cobra.Command {
	cmd := listCommand("jobs", "The jobs of the database: look at them, stop them, continue them")
	cmd.Long = "List the jobs of the database, the newest first; or one of the commands below.\n\n" +
		"A running job obeys pause, continue, cancel and set within five seconds, in all its processes."
	cmd.AddCommand(listCommand("list", "List the jobs, the newest first"), showCommand(), resultsCommand(),
		pauseCommand(), continueCommand(), cancelCommand(), setCommand(), purgeCommand())
	return cmd
}

func listCommand(use, short string) *cobra.Command {
	var l ledgerFlags
	var most int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 1 || most > 1000 {
				return usagef("--limit is %d; it can be 1 to 1000", most)
			}
			return withDatabase(cmd, l, func(ctx context.Context, pool *pgxpool.Pool) error {
				if err := migrations.Check(ctx, pool); err != nil {
					return err
				}
				found, err := sink.Overviews(ctx, pool, "", most)
				if err != nil {
					return err
				}
				return printJobs(cmd.OutOrStdout(), found, asJSON)
			})
		},
	}
	l.addDatabase(cmd.Flags())
	cmd.Flags().IntVar(&most, "limit", 20, "show only so many jobs, the newest")
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON object for each job, one a line")
	return cmd
}

// jobView is a job as it is shown.
type jobView struct {
	Job      string                    `json:"job"`
	Command  string                    `json:"command"`
	State    string                    `json:"state"`
	Rows     int64                     `json:"rows"`
	Expected *int64                    `json:"expected"` // rows; null: unknown
	Results  map[pipeline.Status]int64 `json:"results"`
	Pruned   int64                     `json:"pruned"`
	Rate     *float64                  `json:"rate"` // set for the job; null: each process has its own
	Created  time.Time                 `json:"created_at"`
	Finished *time.Time                `json:"finished_at"`
}

func viewOf(o sink.Overview) jobView {
	v := jobView{
		Job: o.Name, Command: o.Asked["command"], State: shownState(o), Rows: o.Counts.Rows(), Expected: o.Expected,
		Results: make(map[pipeline.Status]int64), Pruned: o.Pruned, Rate: o.Rate, Created: o.Created.UTC(),
	}
	for _, s := range pipeline.Statuses {
		v.Results[s] = o.Counts[s]
	}
	if o.Finished != nil {
		ended := o.Finished.UTC()
		v.Finished = &ended
	}
	return v
}

// The states of a job that somebody may be at work on.
const (
	statePaused  = "paused"
	stateRunning = "running"
)

// shownState is the state of a job in the words of the summary, as far as there
// are such.
func shownState(o sink.Overview) string {
	switch {
	case o.State == sink.StateDone && o.Counts[pipeline.Failed] > 0:
		return stateIncomplete
	case o.State != sink.StateOpen:
		return o.State
	case o.Paused:
		return statePaused
	case o.Segments.Held > 0:
		return stateRunning
	default:
		return stateUnfinished
	}
}

// progress is how much of a job is done, as far as it is known.
func (v jobView) progress() string {
	switch {
	case v.State == stateDone || v.State == stateIncomplete:
		return "100 %"
	case v.Expected == nil || *v.Expected <= 0:
		return "-"
	}
	return fmt.Sprintf("%.0f %%", math.Floor(min(99, 100*float64(v.Rows)/float64(*v.Expected))))
}

func (v jobView) results() string {
	var parts []string
	for _, s := range pipeline.Statuses {
		if n := v.Results[s]; n > 0 {
			parts = append(parts, thousands(n)+" "+string(s))
		}
	}
	return strings.Join(parts, ", ")
}

func printJobs(w io.Writer, found []sink.Overview, asJSON bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "job\tcommand\tstate\tprogress\tcreated\tfinished\trows")
	}
	for _, o := range found {
		v := viewOf(o)
		if asJSON {
			if err := json.NewEncoder(w).Encode(v); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Job, v.Command, v.State, v.progress(), shownTime(&v.Created), shownTime(v.Finished), v.results())
	}
	return table.Flush()
}

func shownTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
