package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulksub/bulksub/sink"
)

func (d *doctor) checkInput(ctx context.Context) {
	o := d.options
	if o.asked.vapidKey != "" {
		d.check(ctx, "vapid key", func(context.Context) (string, error) { return "a public key on the curve P-256", nil })
	}
	if o.asked.changes() {
		d.check(ctx, "topic", func(context.Context) (string, error) { return o.asked.topic(), nil })
	}
	d.check(ctx, "input", d.input)
	if o.prune.on() {
		d.checkTable(ctx, "prune", d.prune)
	}
	if o.asked.write != "" {
		d.checkTable(ctx, "write back", d.writeBack)
	}
	if o.asked.kind != "" {
		d.checkTable(ctx, "tokens", d.kind)
	}
	if o.asked.sync != nil {
		d.checkTable(ctx, "difference", d.difference)
	}
}

// checkTable makes a check of an input that can be read.
func (d *doctor) checkTable(ctx context.Context, name string, do func(context.Context) (string, error)) {
	d.check(ctx, name, func(ctx context.Context) (string, error) {
		if d.in == nil {
			return "", skippedError{d.unread}
		}
		return do(ctx)
	})
}

// input opens the input as a job does, which finds its columns and makes sure that the rows
// can be told apart. What else a job does to it are checks of their own.
func (d *doctor) input(ctx context.Context) (string, error) {
	o := d.options
	d.unread = "the input is not read"
	switch {
	case o.fromDatabase() && o.ledger.databaseURL == "" && o.input.table+o.input.query == "":
		return "", skippedError{"none is given"}
	case o.fromDatabase() && d.pool == nil:
		return "", skippedError{"the database cannot be asked"}
	case o.input.file() == "-":
		return "", skippedError{"standard input is left for the job"}
	}
	o.prune.mode, o.asked.write = "off", ""
	in := &input{pool: d.pool, asked: o.asked.all()}
	err := in.openSource(ctx, o)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		in.close()
		d.unread = "the input takes too long to read"
		return fmt.Sprintf("no flaw was found within %v; it takes longer than that to see it all", checkTime), nil
	case err != nil:
		in.close()
		return "", err
	}
	d.in = in
	return d.described(), nil
}

// described says what the input is.
func (d *doctor) described() string {
	in := d.in
	switch {
	case in.relation == nil:
		return fmt.Sprintf("%s: %s rows", in.label(d.options), thousands(in.rows))
	case in.relation.Key.Name == "":
		return fmt.Sprintf("%s: token column %q", in.relation.Label(), in.relation.Token.Name)
	}
	return fmt.Sprintf("%s: about %s rows, token column %q, key column %q", in.relation.Label(), thousands(in.rows), in.relation.Token.Name, in.relation.Key.Name)
}

func (d *doctor) prune(ctx context.Context) (string, error) {
	if d.in.relation == nil {
		return "", usagef("--prune takes rows out of a table; it needs --table")
	}
	if err := d.in.checkPrune(ctx, d.options.prune); err != nil {
		return "", err
	}
	return fmt.Sprintf("this user may %s the rows of %s", d.options.prune.mode, d.in.relation.Name), nil
}

func (d *doctor) writeBack(ctx context.Context) (string, error) {
	return fmt.Sprintf("this user may write registration tokens into column %q", d.options.asked.write), d.in.checkImport(ctx, d.options.asked)
}

func (d *doctor) kind(ctx context.Context) (string, error) {
	return "the first rows do not look like those for another command", d.in.checkKind(ctx, d.options)
}

// difference computes what a sync would send, if that is quick.
func (d *doctor) difference(ctx context.Context) (string, error) {
	found, err := sink.Compare(ctx, d.in.pool, d.in.asked, d.in.sync(d.options), d.options.service.name(), d.options.service.longest())
	if errors.Is(err, context.DeadlineExceeded) {
		return "", skippedError{fmt.Sprintf("it takes longer than %v; bulksub sync --dry-run computes it", checkTime)}
	}
	return fmt.Sprintf("%s to add, %s to assert, %s to remove", thousands(found.Add), thousands(found.Assert), thousands(found.Remove)), err
}
