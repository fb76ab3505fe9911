package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/migrations"
)

func databaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "The ledger's tables: make them, look at them",
		Args:  noWords,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(migrateCommand(), statusCommand())
	return cmd
}

func migrateCommand() *cobra.Command {
	var l ledgerFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables to this program's version; any number of processes may do so at once",
		Args:  noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := signalsOf(cmd.Context()).until(cmd.Context())
			defer cancel()
			pool, err := connect(ctx, l)
			if err != nil {
				return err
			}
			defer pool.Close()
			applied, err := migrations.Migrate(ctx, pool)
			for _, name := range applied {
				fmt.Fprintf(cmd.OutOrStdout(), "applied %s\n", name)
			}
			if err == nil && len(applied) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "the tables are up to date")
			}
			return err
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
			ctx, cancel := signalsOf(cmd.Context()).until(cmd.Context())
			defer cancel()
			pool, err := connect(ctx, l)
			if err != nil {
				return err
			}
			defer pool.Close()
			all, err := migrations.Status(ctx, pool)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, m := range all {
				when := "pending: bulksub db migrate applies it"
				if !m.Pending() {
					when = m.AppliedAt.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(table, "%s\t%s\n", m.Name, when)
			}
			return table.Flush()
		},
	}
	l.addDatabase(cmd.Flags())
	return cmd
}
