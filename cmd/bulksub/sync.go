package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/migrations"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

type syncFlags struct {
	topics     topicFlags
	assertAll  bool
	olderThan  age
	allowEmpty bool
	maxRemove  share
	prune      string
}

func syncCommand(do runner) *cobra.Command {
	f := syncFlags{maxRemove: 0.2}
	options := jobOptions{prune: pruneFlags{mode: "off"}}
	cmd := &cobra.Command{
		Use:   "sync --topic TOPIC | --topic-column NAME [flags]",
		Short: "Make a topic hold exactly the tokens of a table or query, sending only the difference",
		Long: `Subscribe the tokens that a table or query selects, and unsubscribe the others. A sync sends only the
difference from what the service is believed to hold (bulksub.subscriptions).

The database computes the difference when the job begins. The next run knows what a run has sent, even
if the run was killed: without --job, the next run computes what is left by then; with --job NAME, the
same job continues with the difference that it began with. For topics under sync, every job with this
database notes what the service acknowledges. A sync removes only what it knows of: tokens subscribed
to a topic before its first sync, or without this database, stay. With --topic-column the topics are
those of the column; a topic that has vanished from it since an earlier sync of the same kind is emptied.

A token that the service says is gone is no longer believed in any topic. A refused call changes no
belief, and each later sync asks again. Rows with the same token and topic count once; a row without
a usable token or topic gets the result malformed.

An empty selection, or removals above --max-remove, stop the sync before any call. Two syncs of one
topic never work at the same time: the second ends with 75.`,
		Example: `  bulksub sync --topic news --table users --where "wants_news" --token-column fcm_token
  bulksub sync --topic-column plan --query "select fcm_token as token, plan from users" --max-remove 30%
  bulksub sync --topic news --table users --older-than 30d`,
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("older-than") && f.olderThan == 0 {
				return usagef("--older-than 0 would be everything; say so with --assert-all, or give an age such as 30d")
			}
			asked, err := f.ask(&options)
			if err != nil {
				return err
			}
			options.asked = asked
			return do(cmd, options)
		},
	}
	f.add(cmd)
	options.input.add(cmd.Flags())
	options.ledger.add(cmd.Flags())
	options.service.add(cmd.Flags())
	options.output.add(cmd.Flags())
	options.metrics.add(cmd.Flags())
	options.verify.add(cmd.Flags())
	cmd.Flags().BoolVar(&options.dryRun, "dry-run", false, "compute the difference; call nothing, change nothing")
	for _, name := range []string{"csv", "jsonl", "key-column", "results", "prune"} {
		cmd.Flags().SetAnnotation(name, commandLineOnly, nil)
		cmd.Flags().MarkHidden(name)
	}
	return cmd
}

func (f *syncFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.topics.add(flags)
	flags.Lookup("topic").Usage = "`NAME` of the topic, with or without /topics/"
	flags.BoolVar(&f.assertAll, "assert-all", false, "subscribe again what is believed to be subscribed")
	flags.Var(&f.olderThan, "older-than", "subscribe again what the service has not acknowledged for so long, such as 30d or 12h")
	flags.BoolVar(&f.allowEmpty, "allow-empty", false, "continue even if the table or query selects nothing")
	flags.Var(&f.maxRemove, "max-remove", "stop when more than this share of what is subscribed would be removed")
	flags.StringVar(&f.prune, "prune", "", "")
}

// ask makes what is asked of the flags.
func (f *syncFlags) ask(o *jobOptions) (asking, error) {
	if err := f.topics.check(); err != nil {
		return asking{}, err
	}
	switch {
	case len(f.topics.topics) == 0 && f.topics.column == "":
		return asking{}, usagef("there is no topic: give --topic NAME or --topic-column NAME")
	case len(f.topics.topics) > 1:
		return asking{}, usagef("a sync takes one topic: give --topic once, or --topic-column if each row names its topic")
	case o.input.file() != "" || o.ledger.results != "":
		return asking{}, usagef("a sync reads a table or query in the database that keeps its results: give --table or --query, and neither --csv, --jsonl nor --results")
	case o.input.keyColumn != "":
		return asking{}, usagef("--key-column has no meaning here: a sync tells rows apart by token and topic")
	case f.prune != "" && f.prune != "off":
		return asking{}, usagef("a sync does not prune: its rows are differences, and most tokens of the table are not among them; " +
			"use bulksub subscribe --prune, or delete where the token is in bulksub.results with status not_found")
	case f.assertAll && f.olderThan > 0:
		return asking{}, usagef("give either --assert-all or --older-than; --assert-all asserts everything")
	}
	a := asking{command: "sync", words: sink.Asked{}, sync: f, kind: fcmTokens}
	f.topics.ask(&a, pipeline.Subscribe)
	a.claims = func(r pipeline.Result) []pipeline.Action { return []pipeline.Action{{Op: r.Op, Topic: r.Topic}} }
	if f.assertAll {
		a.words["assert"] = "all"
	} else if f.olderThan > 0 {
		a.words["assert"] = "older than " + f.olderThan.String()
	}
	return a, nil
}

// openWanted opens the wanted set.
func (in *input) openWanted(ctx context.Context, o jobOptions) error {
	wanted := o.wanted()
	wanted.Keyless = true
	r, err := postgres.Resolve(ctx, in.pool, wanted)
	if err != nil {
		return err
	}
	in.asked["table"], in.asked["query"], in.asked["where"] = r.Name, o.input.query, o.input.where
	in.asked["token column"] = r.Token.Name
	in.relation = r
	return migrations.Check(ctx, in.pool)
}

// sync says what a plan is made of.
func (in *input) sync(o jobOptions) sink.Sync {
	f := o.asked.sync
	s := sink.Sync{
		Relation: in.relation, AssertAll: f.assertAll, OlderThan: time.Duration(f.olderThan),
		Batch: o.service.batchSize, AllowEmpty: f.allowEmpty, MaxRemove: float64(f.maxRemove),
	}
	if f.topics.column == "" {
		s.Topic = f.topics.topics[0]
	}
	return s
}

// inSync is a sync in Postgres.
type inSync struct {
	*inDatabase
	difference *sink.Difference // nil: not computed in this run
}

// stage makes the plan or finds it, and the source of its rows.
func (l *inSync) stage(ctx context.Context, in *input, o jobOptions) error {
	d, err := l.Stage(ctx, in.sync(o))
	if err == nil || is[*sink.SyncBrakeError](err) {
		l.difference = &d
	}
	if err != nil {
		return err
	}
	in.rows = d.Rows()
	in.source = source.NewPostgres(in.pool, l.Planned(), planned(), false, o.service.patience)
	return nil
}

// planned makes tasks from the operation and the topic of a planned row.
func planned() source.Tasks {
	return remembered(func(fields []string) ([]pipeline.Action, error) {
		topic, err := iidclient.CheckTopic(fields[1])
		if err == nil && topic != fields[1] {
			err = fmt.Errorf("topic: %q is no name of a topic", fields[1])
		}
		if err != nil {
			return nil, err
		}
		return []pipeline.Action{{Op: pipeline.Op(fields[0]), Topic: topic}}, nil
	})
}

// Sample picks rows of the job that are ok, with what is believed of each now: that it is
// subscribed, or that it is not.
func (l *inSync) Sample(ctx context.Context, n int) ([]pipeline.Result, error) {
	sample, err := l.inDatabase.Sample(ctx, n)
	if err != nil {
		return nil, err
	}
	return l.Believed(ctx, sample)
}

// dryRunSync computes the difference and says what a run would send, and what would keep it from that.
func dryRunSync(ctx context.Context, w io.Writer, in *input, o jobOptions) error {
	d, hindered := sink.Compare(ctx, in.pool, in.asked, in.sync(o), o.service.name(), o.service.longest())
	if hindered != nil && !is[*sink.SyncBrakeError](hindered) && !is[*sink.HeldError](hindered) && !is[*sink.OtherServiceError](hindered) {
		return hindered
	}
	seconds := 0.0
	if o.service.rate > 0 {
		seconds = math.Ceil(float64(d.Rows()-d.Malformed) / o.service.rate)
	}
	if err := printDifference(w, d, seconds, o.output.json); err != nil {
		return err
	}
	return hindered
}

func printDifference(w io.Writer, d sink.Difference, seconds float64, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			sink.Difference
			Seconds float64 `json:"seconds"`
		}{d, seconds})
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	differenceLines(d, func(name, value string) { fmt.Fprintf(table, "%s\t%s\n", name, value) })
	fmt.Fprintf(table, "batches\t%s\n", thousands(d.Batches))
	fmt.Fprintf(table, "seconds\t%s, at the rate\n", thousands(int64(seconds)))
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\nnothing was called and nothing was changed: this was a dry run")
	return err
}

// differenceLines shows what a sync is about.
func differenceLines(d sink.Difference, line func(name, value string)) {
	line("wanted", thousands(d.Wanted))
	line("believed", thousands(d.Believed))
	line("  to add", thousands(d.Add))
	if d.Assert > 0 {
		line("  to assert", thousands(d.Assert))
	}
	line("  to remove", thousands(d.Remove))
	line("duplicates", thousands(d.Duplicates))
	line("malformed", thousands(d.Malformed))
}
