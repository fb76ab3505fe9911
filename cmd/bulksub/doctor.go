package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/sink/prune"
	"github.com/bulksub/bulksub/source"
)

func doctorCommand() *cobra.Command {
	var o jobOptions
	cmd := &cobra.Command{
		Use:   "doctor [COMMAND] [flags]",
		Short: "Check what a command needs, or credential, service and database alone, in seconds",
		Long: `Check what a command with its flags would need. For example, bulksub doctor subscribe --topic news
--table users checks credential, service, database, rights, input, tokens and results. It says of each
that it is ok, or what is wrong and how to fix it. Without a command, doctor checks only what every job
needs, and the input if there is one.

It changes nothing: it asks the service about one token that does not exist. The exit code is that of
the first thing that is wrong, as the command would give it; 0 if all is ok.`,
		Example: `  bulksub doctor --credentials service-account.json
  bulksub doctor subscribe --topic news --table users --token-column fcm_token --prune delete
  bulksub doctor import --bundle-id com.example.app --csv apns.csv`,
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.service.check(); err != nil {
				return err
			}
			if err := o.checkAPI(); err != nil {
				return err
			}
			if o.prune.mode != "off" && o.prune.mode != prune.Mark && o.prune.mode != prune.Delete {
				return usagef("--prune is %q; it can be off, mark or delete", o.prune.mode)
			}
			o.asked = asking{words: sink.Asked{}, tasks: source.Always()}
			return examine(cmd, o)
		},
	}
	o.add(cmd.Flags())
	for _, c := range jobCommands(examineJob) {
		cmd.AddCommand(checking(c))
	}
	return cmd
}

// checking makes a command that checks of one that asks for a job.
func checking(cmd *cobra.Command) *cobra.Command {
	cmd.Short = "Check what this command needs: " + cmd.Short
	cmd.Long = cmd.Short + ".\n\nIts flags are those of the command, and nothing is changed; see bulksub doctor --help."
	cmd.Example = ""
	if cmd.HasSubCommands() {
		for _, c := range cmd.Commands() {
			checking(c)
		}
		return cmd
	}
	ask := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := ask(cmd, args)
		if err == nil || is[*findingsError](err) || cmd.Context().Err() != nil {
			return err
		}
		d := &doctor{out: cmd.OutOrStdout()}
		d.options.output.json, _ = cmd.Flags().GetBool("json")
		d.check(cmd.Context(), "flags", func(context.Context) (string, error) { return "", err })
		return d.verdict()
	}
	return cmd
}

// examineJob checks what a job needs.
func examineJob(cmd *cobra.Command, o jobOptions) error {
	if err := o.ready(cmd); err != nil {
		return err
	}
	return examine(cmd, o)
}

func examine(cmd *cobra.Command, o jobOptions) error {
	ctx, cancel := signalsOf(cmd.Context()).until(cmd.Context())
	defer cancel()
	d := &doctor{options: o, out: cmd.OutOrStdout()}
	defer d.close()
	d.checkService(ctx)
	d.checkDatabase(ctx)
	d.checkInput(ctx)
	d.checkResults(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return d.verdict()
}

// doctor makes one check after the other. None is left out because another has
// failed, unless there is nothing to check then.
type doctor struct {
	options  jobOptions // without a command if asked.command is empty
	out      io.Writer
	findings []finding
	pool     *pgxpool.Pool // nil: no database, or none that can be reached
	in       *input        // nil: no input, or none that can be read
	unread   string        // why
}

func (d *doctor) close() {
	if d.in != nil {
		d.in.close()
	}
	if d.pool != nil {
		d.pool.Close()
	}
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

// findingsError is that something is wrong. It counts as the first thing found.
type findingsError struct {
	wrong, of int
	first     error
}

func (e *findingsError) Error() string {
	return fmt.Sprintf("%d of %d checks found something wrong", e.wrong, e.of)
}

func (e *findingsError) Unwrap() error { return e.first }

// verdict is a [*findingsError] if anything is wrong.
func (d *doctor) verdict() error {
	e := &findingsError{of: len(d.findings)}
	for _, f := range d.findings {
		if f.err == nil {
			continue
		}
		if e.wrong++; e.first == nil {
			e.first = f.err
		}
	}
	if e.wrong == 0 {
		return nil
	}
	return e
}
