package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

func (d *doctor) checkInput(ctx context.Context) {
	o := d.options
	switch {
	case o.input.csv != "":
		d.check(ctx, "csv", d.file)
	case o.input.jsonl != "":
		d.check(ctx, "jsonl", d.file)
	case o.input.table != "" || o.input.query != "" || d.pool != nil:
		d.check(ctx, "input", d.relation)
	}
	if o.prune.on() {
		d.check(ctx, "prune", d.prune)
	}
}

func (d *doctor) file(ctx context.Context) (string, error) {
	if d.options.input.file() == "-" {
		return "", skippedError{"standard input is left for the job"}
	}
	reading := source.Reading{Token: d.options.input.tokenColumn, Columns: d.options.asked.columns, Tasks: source.Always()}
	file, err := d.options.input.open(ctx, reading)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no flaw in what could be read of %s within %v", d.options.input.file(), checkTime), nil
	case err != nil:
		return "", err
	}
	defer file.Close()
	return fmt.Sprintf("%s: %s rows", d.options.input.file(), thousands(file.Count())), nil
}

// relation does what a job does before it reads: it finds the columns, and makes
// sure that the rows can be read and told apart.
func (d *doctor) relation(ctx context.Context) (string, error) {
	if d.pool == nil {
		return "", skippedError{"the database cannot be asked"}
	}
	o := d.options
	o.prune.mode = "off" // is a check of its own
	in := &input{pool: d.pool, asked: make(sink.Asked)}
	err := in.openRelation(ctx, o)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no flaw was found within %v; it takes longer than that to see that the key is unique", checkTime), nil
	case err != nil:
		return "", err
	}
	d.in = in
	return fmt.Sprintf("%s: about %s rows, token column %q, key column %q", in.relation.Label(), thousands(in.rows), in.relation.Token.Name, in.relation.Key.Name), nil
}

func (d *doctor) prune(ctx context.Context) (string, error) {
	switch {
	case d.in == nil && d.options.input.file() != "":
		return "", usagef("--prune takes rows out of a table; it needs --table")
	case d.in == nil:
		return "", skippedError{"the table cannot be read"}
	}
	if err := d.in.checkPrune(ctx, d.options.prune); err != nil {
		return "", err
	}
	return fmt.Sprintf("this user may %s the rows of %s", d.options.prune.mode, d.in.relation.Name), nil
}
