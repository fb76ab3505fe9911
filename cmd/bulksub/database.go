package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/migrations"
)

func databaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "The ledger's tables: make them, look at them",
		Args:  noWords,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(migrateSchemaCommand(), statusCommand())
	return cmd
}

func migrateSchemaCommand() *cobra.Command {
	var l ledgerFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables to this program's version; any number of processes may do so at once",
		Args:  noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDatabase(cmd, l, func(ctx context.Context, pool *pgxpool.Pool) error {
				applied, err := migrations.Migrate(ctx, pool)
				for _, name := range applied {
					fmt.Fprintf(cmd.OutOrStdout(), "applied %s\n", name)
				}
				if err == nil && len(applied) == 0 {
					fmt.Fprintln(cmd.OutOrStdout(), "the tables are up to date")
				}
				return err
			})
		},
	}
	l.addDatabase(cmd.Flags())
	return cmd
}

func statusCommand() *cobra.Command {
	var l ledgerFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show which migrations the tables have",
		Args:  noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDatabase(cmd, l, func(ctx context.Context, pool *pgxpool.Pool) error {
				all, err := migrations.Status(ctx, pool)
				if err != nil {
					return err
				}
				return printStatus(cmd.OutOrStdout(), all)
			})
		},
	}
	l.addDatabase(cmd.Flags())
	return cmd
}

func printStatus(w io.Writer, all []migrations.Migration) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range all {
		when := "pending: bulksub db migrate applies it"
		if !m.Pending() {
			when = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\n", m.Name, when)
	}
	return table.Flush()
}

// withDatabase does something with the database, until the first signal.
func withDatabase(cmd *cobra.Command, l ledgerFlags, do func(context.Context, *pgxpool.Pool) error) error {
	if l.databaseURL == "" {
		return usagef("this needs a database: give --database-url URL, or set DATABASE_URL")
	}
	ctx, cancel := signalsOf(cmd.Context()).until(cmd.Context())
	defer cancel()
	pool, err := postgres.Connect(ctx, l.databaseURL, postgres.MostConnections)
	if err != nil {
		return err
	}
	defer pool.Close()
	return do(ctx, pool)
}
