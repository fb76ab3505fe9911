package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

type migrateFlags struct {
	from, to string
	gapFirst bool
}

func migrateCommand(do runner) *cobra.Command {
	var f migrateFlags
	var options jobOptions
	cmd := &cobra.Command{
		Use:   "migrate --from TOPIC --to TOPIC [flags] [TOKEN...]",
		Short: "Move tokens from one topic to another",
		Long: `Move tokens from one topic to another, and record one result for every token.

A token leaves the old topic only after the service has acknowledged that it is in the new one. So it
is in at least one of them at every instant; meanwhile, a message to both topics reaches it twice.
With --gap-first it leaves the old topic first: no message reaches it twice, and some perhaps not at
all. A token that the service refuses stays where it is, and its result says what was done.`,
		Example: `  bulksub migrate --from news --to news-v2 --csv tokens.csv --credentials service-account.json
  bulksub migrate --from news --to news-v2 --table users --token-column fcm_token --job news-v2`,
		RunE: func(cmd *cobra.Command, tokens []string) error {
			var err error
			if options.asked, err = f.ask(); err != nil {
				return err
			}
			options.asked.tokens = tokens
			return do(cmd, options)
		},
	}
	cmd.Flags().StringVar(&f.from, "from", "", "`NAME` of the topic to leave, with or without /topics/")
	cmd.Flags().StringVar(&f.to, "to", "", "`NAME` of the topic to join, with or without /topics/")
	cmd.Flags().BoolVar(&f.gapFirst, "gap-first", false, "leave the old topic before joining the new one")
	options.add(cmd.Flags())
	options.verify.add(cmd.Flags())
	return cmd
}

func (f migrateFlags) ask() (asking, error) {
	if f.from == "" || f.to == "" {
		return asking{}, usagef("a migration is from one topic to another: give --from TOPIC and --to TOPIC")
	}
	from, err := iidclient.CheckTopic(f.from)
	if err != nil {
		return asking{}, err
	}
	to, err := iidclient.CheckTopic(f.to)
	if err != nil {
		return asking{}, err
	}
	if from == to {
		return asking{}, usagef("--from and --to are the same topic, %s", to)
	}
	words := sink.Asked{"from": from, "to": to}
	actions := []pipeline.Action{{Op: pipeline.Subscribe, Topic: to}, {Op: pipeline.Unsubscribe, Topic: from}}
	if f.gapFirst {
		slices.Reverse(actions)
		words["order"] = "gap first"
	}
	return asking{
		command: "migrate", words: words, tasks: source.Always(actions...), kind: fcmTokens,
		claims: func(pipeline.Result) []pipeline.Action { return actions },
	}, nil
}
