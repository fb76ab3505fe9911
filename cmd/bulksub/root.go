package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/sourcegraph/conc/panics"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// execute runs the program and returns its exit code.
func execute(ctx context.Context, args []string, t terminal) int {
	ctx, signals := catchSignals(ctx)
	defer signals.release()
	root := newRoot(t, os.LookupEnv)
	root.SetArgs(args)
	var err error
	var caught panics.Catcher
	caught.Try(func() { err = root.ExecuteContext(ctx) })
	if bug := caught.Recovered(); bug != nil {
		err = &bugError{cause: bug.AsError()}
	}
	return report(t.err, err, signals)
}

// newRoot makes the command tree. lookup reads the environment.
func newRoot(t terminal, lookup func(string) (string, bool)) *cobra.Command {
	root := &cobra.Command{
		Use:   "bulksub",
		Short: "Subscribe millions of push tokens to topics, with one result for every token",
		Long: `bulksub changes the topic subscriptions of push tokens in bulk, through the Instance ID API.

Tokens come from a CSV file, a Postgres table or query, or the command line. They go out in batches
of up to 1,000 at a limited rate; one result for every token comes back into a CSV file or the
database. If a run is killed, run the same command again: it continues.

Try it, with nothing but this program:  bulksub demo

Google switches the Instance ID API off on 2027-09-29. --api fcm uses its successor.

` + exitCodeHelp,
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              noWords,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return bindEnvironment(cmd, lookup) },
	}
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{plainly(err)} })
	root.AddCommand(jobCommands(runJob)...)
	root.AddCommand(
		pruneCommand(), unpruneCommand(),
		resumeCommand(), jobsCommand(), loadCommand(),
		databaseCommand(), doctorCommand(),
		demoCommand(), emulatorCommand(),
	)
	describeEnvironment(root)
	return root
}

// plainly says of a value that is no number just that.
func plainly(err error) error {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	number, wrong := errors.AsType[*strconv.NumError](err)
	if !ok || !wrong {
		return err
	}
	takes, ok := map[string]string{"float64": "a number", "bool": "true or false"}[invalid.GetFlag().Value.Type()]
	if !ok {
		takes = "a whole number"
	}
	return fmt.Errorf("--%s is %q; it takes %s (%w)", invalid.GetFlag().Name, invalid.GetValue(), takes, number.Err)
}

// noWords refuses words that are neither a flag nor a command.
func noWords(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command or argument %q; see %s --help", args[0], cmd.CommandPath())
	}
	return nil
}

// newLog writes what happens besides the summary: warnings, and progress where
// there is no terminal.
func newLog(w io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, nil)), nil
	}
	return nil, &usageError{fmt.Errorf("--log-format is %q; it can be text or json", format)}
}
