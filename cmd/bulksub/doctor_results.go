package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/migrations"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

// checkResults looks for the job that the command would go on with.
func (d *doctor) checkResults(ctx context.Context) {
	o := d.options
	switch {
	case o.asked.command == "":
	case o.usesDatabase():
		d.checkTable(ctx, "job", d.jobInDatabase)
	case len(o.asked.tokens) > 0 && o.ledger.results == "":
	default:
		d.checkTable(ctx, "results", d.jobInFile)
	}
}

func (d *doctor) jobInDatabase(ctx context.Context) (string, error) {
	if err := migrations.Check(ctx, d.in.pool); err != nil {
		return "", skippedError{"the schema is not there"}
	}
	j, err := sink.InspectPostgres(ctx, d.in.pool, d.options.ledger.job, d.in.asked)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "a new one begins", nil
	case err != nil:
		return "", err
	case j.Done:
		return fmt.Sprintf("%s has ended; what failed in it would be tried again", j.Name), nil
	case d.options.asked.sync != nil && d.options.ledger.job == "":
		return fmt.Sprintf("%s is unfinished; a new one overtakes it, unless it had not begun to send", j.Name), nil
	}
	return fmt.Sprintf("%s is unfinished, and would continue", j.Name), nil
}

func (d *doctor) jobInFile(context.Context) (string, error) {
	path := d.options.resultsFile()
	counts, done, err := sink.InspectCSV(path, d.in.asked)
	switch {
	case err != nil:
		return "", err
	case counts == nil:
		return path + " can be written", nil
	case done && counts[pipeline.Failed] == 0:
		return fmt.Sprintf("%s is finished, with %s results; it would be left as it is", path, thousands(counts.Rows())), nil
	case done:
		return fmt.Sprintf("%s is finished; its %s failed rows would be tried again", path, thousands(counts[pipeline.Failed])), nil
	}
	return fmt.Sprintf("%s is unfinished, with %s results, and would continue", path, thousands(counts.Rows())), nil
}
