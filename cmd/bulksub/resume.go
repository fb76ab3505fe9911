package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulksub/bulksub/sink"
)

func resumeCommand() *cobra.Command {
	var o jobOptions
	cmd := &cobra.Command{
		Use:   "resume JOB",
		Short: "Run a job again, knowing only its name",
		Long: `Run a job of the database again with the command line that made it. An unfinished job continues, a
finished one retries its failed rows, and one that finished clean prints its summary.

The job does not keep how it runs: the credential, the service's address, the rate and the like come
from this command's flags and environment. It reads its file from where it was, or from --csv or
--jsonl; it must be the same file.`,
		Example: `  bulksub resume spring-news
  bulksub resume spring-news --csv /mnt/copy-of/tokens.csv --rate 500`,
		Args: oneJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			var kept line
			err := withJob(cmd, o.ledger, args[0], func(ctx context.Context, pool *pgxpool.Pool, j sink.Job) (err error) {
				kept, err = keptLine(ctx, pool, j)
				return err
			})
			if err != nil {
				return err
			}
			return kept.run(cmd, args[0])
		},
	}
	o.ledger.addDatabase(cmd.Flags())
	o.addRun(cmd.Flags())
	cmd.Flags().StringVar(&o.input.csv, "csv", "", "the job's CSV `FILE`, if it is not where it was")
	cmd.Flags().StringVar(&o.input.jsonl, "jsonl", "", "the job's `FILE` of JSON lines, if it is not where it was")
	for _, name := range []string{"csv", "jsonl"} {
		cmd.Flags().SetAnnotation(name, commandLineOnly, nil)
	}
	return cmd
}

// withJob does something with a job of the database, until the first signal.
func withJob(cmd *cobra.Command, l ledgerFlags, name string, do func(context.Context, *pgxpool.Pool, sink.Job) error) error {
	return withDatabase(cmd, l, func(ctx context.Context, pool *pgxpool.Pool) error {
		j, err := findJob(ctx, pool, name)
		if err != nil {
			return err
		}
		return do(ctx, pool, j)
	})
}

func keptLine(ctx context.Context, pool *pgxpool.Pool, j sink.Job) (line, error) {
	var kept line
	found, err := sink.Overviews(ctx, pool, j.Name, 1)
	switch {
	case err != nil:
		return kept, err
	case len(found) == 0 || found[0].Line == nil:
		return kept, usagef("the command line of job %s is not known; run the command that made it again, with --job %s", j.Name, j.Name)
	}
	if err := json.Unmarshal(found[0].Line, &kept); err != nil {
		return kept, &configError{fmt.Errorf("the command line of job %s cannot be read: %w", j.Name, err)}
	}
	return kept, nil
}

// run runs the line for the job, with the flags of the command that wants it.
func (l line) run(by *cobra.Command, job string) error {
	cmd, rest, err := by.Root().Find(l.Command)
	if err == nil && (len(rest) > 0 || cmd.RunE == nil) {
		err = fmt.Errorf("there is no command %q", strings.Join(l.Command, " "))
	}
	if err == nil {
		err = l.apply(cmd.Flags())
	}
	by.Flags().Visit(func(f *pflag.Flag) {
		if err == nil {
			err = cmd.Flags().Set(f.Name, f.Value.String())
		}
	})
	if err == nil {
		err = cmd.Flags().Set("job", job)
	}
	if err != nil {
		return &configError{fmt.Errorf("this bulksub cannot run job %s, take the one that made it: %w", job, err)}
	}
	for _, name := range []string{"csv", "jsonl"} {
		if file := l.Flags[name]; len(file) == 1 && file[0] == "-" && !by.Flags().Changed(name) {
			return usagef("job %s read standard input: give the same again, with --%s FILE or --%[2]s -", job, name)
		}
	}
	cmd.SetContext(by.Context())
	return cmd.RunE(cmd, l.Tokens)
}
