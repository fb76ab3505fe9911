package main

import (
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/sink/prune"
)

const longestName = 200

// ready finds what is wrong with a job's command line before anything is opened, and settles
// what follows from what was given in it.
func (o *jobOptions) ready(cmd *cobra.Command) error {
	for _, check := range []func() error{
		o.service.check, o.checkAPI, o.metrics.check, o.verify.check, o.checkInput, o.checkLedger, o.checkPrune,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("job") && o.ledger.job == "" {
		return usagef("--job is empty; name the job, or leave the flag out")
	}
	if strings.ContainsFunc(o.ledger.job, func(r rune) bool { return !unicode.IsPrint(r) }) || len(o.ledger.job) > longestName {
		return usagef("--job names a job in up to %d printable characters", longestName)
	}
	o.service.concurrencyGiven = cmd.Flags().Changed("concurrency")
	if o.service.api == apiFCM {
		o.service.batchSize = 1
	}
	return nil
}

// checkInput: tokens come from one place, and what is said of that place fits it.
func (o *jobOptions) checkInput() error {
	given := 0
	for _, in := range []bool{o.input.csv != "", o.input.jsonl != "", o.input.table != "", o.input.query != "", len(o.asked.tokens) > 0} {
		if in {
			given++
		}
	}
	noDatabase := o.fromDatabase() && o.ledger.databaseURL == ""
	switch {
	case given > 1:
		return usagef("tokens come from one place: give only one of --csv, --jsonl, --table, --query, or tokens as arguments")
	case noDatabase && given == 0:
		return usagef("there are no tokens: give --csv FILE, --table or --query with --database-url URL, or tokens as arguments")
	case noDatabase:
		return usagef("--table and --query need a database: give --database-url URL, or set DATABASE_URL")
	case len(o.asked.tokens) > 0 && len(o.asked.columns) > 0:
		return usagef("tokens as arguments have no columns: give one value for all of them in place of a column")
	case o.input.where != "" && !o.fromDatabase():
		return usagef("--where is a condition in SQL; it needs --table or --query")
	case o.input.keyColumn != "" && !o.fromDatabase():
		return usagef("--key-column needs --table or --query; the key of a CSV row is its number")
	}
	return nil
}

// checkLedger: there is a place for the results, and a job has its name where it is kept.
func (o *jobOptions) checkLedger() error {
	switch {
	case o.fromDatabase() && o.ledger.results != "":
		return usagef("--results is a file for the results of a CSV; those of a table go into its database")
	case o.input.file() == "-" && o.ledger.results == "" && !o.usesDatabase() && !o.dryRun:
		return usagef("tokens from standard input need a place for their results: give --results FILE or --database-url URL")
	case o.ledger.job != "" && !o.usesDatabase():
		return usagef("--job names a job in a database (--database-url); without one, the result file is the job (--results)")
	}
	return nil
}

func (o *jobOptions) checkPrune() error {
	switch {
	case o.prune.on() && o.prune.mode != prune.Mark && o.prune.mode != prune.Delete:
		return usagef("--prune is %q; it can be off, mark or delete", o.prune.mode)
	case o.prune.on() && (!o.fromDatabase() || o.input.query != ""):
		return usagef("--prune takes rows out of a table; it needs --table")
	}
	return nil
}
