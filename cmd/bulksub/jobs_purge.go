package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/migrations"
	"github.com/bulksub/bulksub/sink"
)

func purgeCommand() *cobra.Command {
	var l ledgerFlags
	p := sink.Purger{Retry: postgres.Retrier{Patience: time.Minute, Timeout: time.Minute}}
	cmd := &cobra.Command{
		Use:   "purge --older-than AGE [--job JOB]",
		Short: "Delete jobs that ended long ago, with their results",
		Long: `Delete jobs that were finished or cancelled so long ago, with their results. There is no way back.

A job with pruned rows that were not restored is kept for bulksub unprune, unless --with-archive is given.
Unfinished jobs are never deleted; cancel them first.`,
		Example: "  bulksub jobs purge --older-than 30d\n  bulksub jobs purge --older-than 0s --job spring-news",
		Args:    noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("older-than") {
				return usagef("say how old: --older-than 30d")
			}
			if cmd.Flags().Changed("job") && p.Name == "" {
				return usagef("--job is empty; name the job, or leave the flag out")
			}
			return withDatabase(cmd, l, func(ctx context.Context, pool *pgxpool.Pool) error {
				if err := migrations.Check(ctx, pool); err != nil {
					return err
				}
				if p.Name != "" {
					if _, err := findJob(ctx, pool, p.Name); err != nil {
						return err
					}
				}
				p.Pool = pool
				return purge(ctx, cmd, &p)
			})
		},
	}
	l.addDatabase(cmd.Flags())
	cmd.Flags().Var((*age)(&p.Older), "older-than", "only jobs that ended so long ago, such as 30d or 12h")
	cmd.Flags().StringVar(&p.Name, "job", "", "only the job with this `NAME`")
	cmd.Flags().BoolVar(&p.Archive, "with-archive", false, "also jobs with pruned rows that then cannot be brought back")
	for _, name := range []string{"older-than", "job", "with-archive"} {
		cmd.Flags().SetAnnotation(name, commandLineOnly, nil)
	}
	return cmd
}

func purge(ctx context.Context, cmd *cobra.Command, p *sink.Purger) error {
	deleted, kept, err := p.Purge(ctx)
	for _, name := range deleted {
		fmt.Fprintf(cmd.OutOrStdout(), "purged %s\n", name)
	}
	for _, name := range kept {
		fmt.Fprintf(cmd.OutOrStdout(), "kept %s: rows that it pruned are not restored (--with-archive deletes it all the same)\n", name)
	}
	if err == nil && len(deleted)+len(kept) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "there is nothing to purge")
	}
	return err
}
