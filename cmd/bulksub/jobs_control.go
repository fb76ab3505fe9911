package main

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/sink"
)

// word is something that is said to a job.
type word struct {
	use, short, long string
	tell             func(context.Context, *pgxpool.Pool, sink.Job) (bool, error)
	said, refused    string // of the job
}

func pauseCommand() *cobra.Command {
	return wordCommand(word{
		use: "pause JOB", short: "Hold a job up: no new call begins",
		long: "Hold a job up, in all its processes, including later ones. Calls in flight are finished and recorded;\n" +
			"the processes stay, and keep their segments, until bulksub jobs continue.",
		tell: sink.Pause, said: "pauses; bulksub jobs continue ends the pause", refused: "is not open, so there is nothing to pause",
	})
}

func continueCommand() *cobra.Command {
	return wordCommand(word{
		use: "continue JOB", short: "Let a paused job continue, or a cancelled job run again",
		tell: sink.Continue, said: "may continue; bulksub resume runs it if no process does", refused: "is finished, or a newer sync has overtaken it; bulksub resume retries the failed rows of a finished job",
	})
}

func cancelCommand() *cobra.Command {
	return wordCommand(word{
		use: "cancel JOB", short: "End a job: its processes drain, and its name does not run again",
		long: "End a job. Its processes finish the calls in flight, record them, and end with exit code 4. Until bulksub\n" +
			"jobs continue, running it again by its name also ends with 4. What is recorded stays. A command without\n" +
			"--job begins the next job.",
		tell: sink.Cancel, said: "is cancelled; bulksub jobs continue opens it again", refused: "is finished, so there is nothing to cancel",
	})
}

func wordCommand(w word) *cobra.Command {
	var l ledgerFlags
	cmd := &cobra.Command{
		Use: w.use, Short: w.short, Long: w.long, Args: oneJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withJob(cmd, l, args[0], func(ctx context.Context, pool *pgxpool.Pool, j sink.Job) error {
				taken, err := w.tell(ctx, pool, j)
				if err != nil {
					return err
				}
				if !taken {
					return usagef("job %s %s", j.Name, w.refused)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "job %s %s\n", j.Name, w.said)
				return err
			})
		},
	}
	l.addDatabase(cmd.Flags())
	return cmd
}

func setCommand() *cobra.Command {
	var l ledgerFlags
	var text string
	cmd := &cobra.Command{
		Use:   "set JOB --rate N|default",
		Short: "Give a job another rate",
		Long: `Set the rate of a job: token operations per second, in place of the --rate of all its processes,
those to come included; 0 is no ceiling, default leaves it to each again. It is still the rate of
all processes for the credential's project together.`,
		Example: "  bulksub jobs set spring-news --rate 500\n  bulksub jobs set spring-news --rate default",
		Args:    oneJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			rate, err := parseRate(text)
			if err != nil {
				return err
			}
			return withJob(cmd, l, args[0], func(ctx context.Context, pool *pgxpool.Pool, j sink.Job) error {
				if err := sink.SetRate(ctx, pool, j, rate); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "job %s: the rate is %s\n", j.Name, shownRate(rate))
				return err
			})
		},
	}
	l.addDatabase(cmd.Flags())
	cmd.Flags().StringVar(&text, "rate", "", "`N|default`: token operations per second, 0 for no ceiling")
	cmd.Flags().SetAnnotation("rate", commandLineOnly, nil)
	return cmd
}

// parseRate reads a rate; nil is the default.
func parseRate(text string) (*float64, error) {
	switch text {
	case "":
		return nil, usagef("say what to set: --rate N or --rate default")
	case "default":
		return nil, nil
	}
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate >= 0) || math.IsInf(rate, 1) {
		return nil, usagef("--rate is %q; it can be 0 (no ceiling) or more, or default", text)
	}
	return &rate, nil
}
