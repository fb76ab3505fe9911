package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/sink"
)

func doctorCommand() *cobra.Command {
	var o jobOptions
	var topicColumn string
	cmd := &cobra.Command{
		Use:   "doctor [flags of a job]",
		Short: "Check credential, service, database, input and rights, in seconds",
		Long: `Check what a job with these flags would need, and say of each thing that it is ok, or what is wrong
and how to mend it. Nothing is changed: the service is asked about one token that does not exist.

The exit code is that of the worst thing found, as the job would give it; 0 if all is ok.`,
		Example: `  bulksub doctor --credentials service-account.json --csv tokens.csv
  bulksub doctor --table users --token-column fcm_token --prune delete`,
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.service.check(); err != nil {
				return err
			}
			if o.prune.mode != "off" && o.prune.mode != sink.PruneMark && o.prune.mode != sink.PruneDelete {
				return usagef("--prune is %q; it can be off, mark or delete", o.prune.mode)
			}
			if topicColumn != "" {
				o.asked.columns = []string{topicColumn}
			}
			ctx, cancel := signalsOf(cmd.Context()).until(cmd.Context())
			defer cancel()
			d := &doctor{options: o, out: cmd.OutOrStdout()}
			return d.examine(ctx)
		},
	}
	o.add(cmd.Flags())
	cmd.Flags().StringVar(&topicColumn, "topic-column", "", "`NAME` of the column that holds the row's topic")
	return cmd
}

// doctor makes one check after the other. None is left out because another has
// failed, unless there is nothing to check then.
type doctor struct {
	options  jobOptions
	out      io.Writer
	findings []finding
	pool     *pgxpool.Pool // nil: no database, or none that can be reached
	in       *input        // nil: no table, or none that can be read
}

// finding is what became of one check.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, wrong, or skipped
	Detail string `json:"detail"`
	err    error
}

// checkTime is the longest that a check may take.
const checkTime = 10 * time.Second

// skippedError is a check that cannot be made.
type skippedError struct{ why string }

func (e skippedError) Error() string { return e.why }

// check makes a check, which returns what to say if all is well, and shows what it
// found.
func (d *doctor) check(ctx context.Context, name string, do func(context.Context) (string, error)) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	detail, err := do(ctx)
	f := finding{Check: name, State: "ok", Detail: detail}
	switch {
	case is[skippedError](err):
		f.State, f.Detail = "skipped", err.Error()
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil:
		f.State, f.err = "wrong", fmt.Errorf("no answer within %v: %w", checkTime, err)
	case err != nil:
		f.State, f.err = "wrong", err
	}
	if f.err != nil {
		f.Detail = f.err.Error()
	}
	d.findings = append(d.findings, f)
	d.show(f)
}

func (d *doctor) show(f finding) {
	if d.options.output.json {
		json.NewEncoder(d.out).Encode(f)
		return
	}
	fmt.Fprintf(d.out, "%-8s %-11s %s\n", f.State, f.Check, f.Detail)
}

// examine makes every check, and returns the worst of what was found.
func (d *doctor) examine(ctx context.Context) error {
	d.checkService(ctx)
	d.checkDatabase(ctx)
	if d.pool != nil {
		defer d.pool.Close()
	}
	d.checkInput(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return worst(d.findings)
}

// findingsError is that something is wrong. It counts as the worst thing found.
type findingsError struct {
	wrong, of int
	worst     error
}

func (e *findingsError) Error() string {
	return fmt.Sprintf("%d of %d checks found something wrong", e.wrong, e.of)
}

func (e *findingsError) Unwrap() error { return e.worst }

// byGravity lists exit codes, first what no waiting will mend.
var byGravity = []int{exitBug, exitUsage, exitConfiguration, exitInput, exitCredentials, exitUnavailable}

func worst(findings []finding) error {
	e := &findingsError{of: len(findings)}
	for _, f := range findings {
		if f.err == nil {
			continue
		}
		e.wrong++
		if e.worst == nil || slices.Index(byGravity, exitCode(f.err)) < slices.Index(byGravity, exitCode(e.worst)) {
			e.worst = f.err
		}
	}
	if e.wrong == 0 {
		return nil
	}
	return e
}
