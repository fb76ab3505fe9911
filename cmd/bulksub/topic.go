package main

import (
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

// operation is a command that does one thing to every token.
type operation struct {
	op             pipeline.Op
	short, example string
}

var (
	subscribing = operation{
		op:    pipeline.Subscribe,
		short: "Subscribe tokens to a topic",
		example: `  bulksub subscribe --topic news --csv tokens.csv --credentials service-account.json
  bulksub subscribe --topic news --table users --token-column fcm_token --prune delete
  bulksub subscribe --topic news TOKEN`,
	}
	unsubscribing = operation{
		op:    pipeline.Unsubscribe,
		short: "Unsubscribe tokens from a topic",
		example: `  bulksub unsubscribe --topic news --csv tokens.csv --credentials service-account.json
  bulksub unsubscribe --topic news --query "select id, token from users where left_at is not null" --key-column id`,
	}
)

func topicCommand(o operation, do runner) *cobra.Command {
	var topics topicFlags
	var options jobOptions
	cmd := &cobra.Command{
		Use:   string(o.op) + " --topic TOPIC... | --topic-column NAME [flags] [TOKEN...]",
		Short: o.short,
		Long: o.short + `, and record one result for every token.

Results go into the database if there is one, else into a CSV file beside the input. After an
interruption, run the same command again to continue; what was recorded is not sent again.`,
		Example: o.example,
		RunE: func(cmd *cobra.Command, tokens []string) error {
			if err := topics.check(); err != nil {
				return err
			}
			if len(topics.topics) == 0 && topics.column == "" {
				return usagef("there is no topic: give --topic NAME or --topic-column NAME")
			}
			options.asked = asking{command: string(o.op), words: sink.Asked{}, tokens: tokens, kind: fcmTokens}
			topics.ask(&options.asked, o.op)
			options.asked.claims = topics.claims(o.op)
			options.asked.single = o.op == pipeline.Subscribe && len(tokens) == 1 && len(topics.topics) == 1
			return do(cmd, options)
		},
	}
	topics.add(cmd.Flags())
	options.add(cmd.Flags())
	options.verify.add(cmd.Flags())
	return cmd
}
