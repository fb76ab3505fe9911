package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/migrations"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/sink/prune"
)

func pruneCommand() *cobra.Command {
	var l ledgerFlags
	var noneOK bool
	f := pruneFlags{mode: prune.Delete}
	cmd := &cobra.Command{
		Use:   "prune JOB",
		Short: "Delete the rows whose token is gone from the job's table, or mark them",
		Long: `Delete the job's not_found rows from its table, or mark them there.

Only rows that still hold the judged token go. Each whole row is first archived in bulksub.pruned, and
comes back with bulksub unprune JOB. Nothing goes if more than --prune-max of the job's rows would, or
if not one of its rows was ok: then the tokens may be alive, and the job asked in a wrong way. With
--none-ok they go all the same, whatever their share. With --prune-lag, the prune waits before each
1,000 rows for standbys that are too far behind.`,
		Args: oneJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.mode != prune.Delete && f.mode != prune.Mark {
				return usagef("--prune is %q; it can be mark or delete", f.mode)
			}
			return withPruner(cmd, l, f, args[0], func(ctx context.Context, p *prune.Pruner) error {
				p.NoneOK, p.ByHand = noneOK, true
				p.OnWait = func(behind int64) {
					fmt.Fprintf(cmd.ErrOrStderr(), "a standby is %s MiB behind; the prune waits for it\n", thousands(behind>>20))
				}
				return pruneJob(ctx, cmd.OutOrStdout(), p)
			})
		},
	}
	l.addDatabase(cmd.Flags())
	cmd.Flags().StringVar(&f.mode, "prune", prune.Delete, "`mark|delete`")
	f.addLimits(cmd.Flags())
	cmd.Flags().BoolVar(&noneOK, "none-ok", false, "prune even if not one row of the job was ok; --prune-max does not apply then")
	for _, name := range []string{"prune", "none-ok"} {
		cmd.Flags().SetAnnotation(name, commandLineOnly, nil)
	}
	return cmd
}

func pruneJob(ctx context.Context, w io.Writer, p *prune.Pruner) error {
	if !p.Job.Done {
		return usagef("job %s is not finished, so its share of dead tokens is not known; run it to its end first", p.Job.Name)
	}
	if err := p.Check(ctx); err != nil {
		return err
	}
	before, err := p.Pruned(ctx)
	if err != nil {
		return err
	}
	if err := p.Prune(ctx); err != nil {
		return err
	}
	after, err := p.Pruned(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "pruned %s rows of %s, %s in all; bulksub unprune %s brings them back\n",
		thousands(after-before), p.Relation.Name, thousands(after), p.Job.Name)
	return err
}

func unpruneCommand() *cobra.Command {
	var l ledgerFlags
	var f pruneFlags
	cmd := &cobra.Command{
		Use:   "unprune JOB",
		Short: "Bring back what a job has pruned",
		Long: `Bring back what a job has pruned, as it was: deleted rows are inserted, marks are taken off.

A row is left alone if its key is taken again, or if it holds another token by now.`,
		Args: oneJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withPruner(cmd, l, f, args[0], func(ctx context.Context, p *prune.Pruner) error {
				restored, left, err := p.Unprune(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "restored %s rows of %s", thousands(restored), p.Relation.Name)
				if left > 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "; %s were left alone: their key is taken again, or their row has changed", thousands(left))
				}
				fmt.Fprintln(cmd.OutOrStdout())
				return err
			})
		},
	}
	l.addDatabase(cmd.Flags())
	return cmd
}

func oneJob(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("name one job; its name is in the summary of its run, and in bulksub.jobs")
	}
	return nil
}

// withPruner opens what a job pruned or may prune.
func withPruner(cmd *cobra.Command, l ledgerFlags, f pruneFlags, name string, do func(context.Context, *prune.Pruner) error) error {
	return withDatabase(cmd, l, func(ctx context.Context, pool *pgxpool.Pool) error {
		j, err := findJob(ctx, pool, name)
		if err != nil {
			return err
		}
		if j.Asked["table"] == "" {
			return usagef("job %s did not read a table, so there are no rows to prune", name)
		}
		r, err := postgres.Resolve(ctx, pool, postgres.Wanted{
			Table: j.Asked["table"], TokenColumn: j.Asked["token column"], KeyColumn: j.Asked["key column"],
		})
		if err != nil {
			return err
		}
		return do(ctx, &prune.Pruner{
			Pool: pool, Job: j, Relation: r, Mode: f.mode, Column: f.column, Max: float64(f.max), Lag: f.lag(),
			Retry: postgres.Retrier{Patience: time.Minute, Timeout: pruneTimeout},
		})
	})
}

func findJob(ctx context.Context, pool *pgxpool.Pool, name string) (sink.Job, error) {
	if err := migrations.Check(ctx, pool); err != nil {
		return sink.Job{}, err
	}
	j, err := sink.FindJob(ctx, pool, name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return j, usagef("there is no job %q in this database", name)
	case err != nil:
		return j, fmt.Errorf("look for job %s: %w", name, err)
	}
	return j, nil
}
