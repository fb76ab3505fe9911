package main

import (
	"errors"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

// webIsOver is why no job for push subscriptions begins at Google's own address.
const webIsOver = `Google's service has refused push subscriptions since June 2024: /v1/web/iid went with
the server keys, and browsers get their tokens from the Firebase SDK. Only a stand-in answers`

const webInput = `The subscriptions come from the columns endpoint, auth and p256dh, or from JSON lines (--jsonl) as the
browser's PushSubscription.toJSON() writes them; other keys are left out. A row without a
push subscription is malformed.`

func webCommand(do runner) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Push subscriptions of browsers, at a stand-in: import, refresh or delete",
		Long:  "Import, refresh or delete the push subscriptions of browsers.\n\n" + webIsOver + ",\nso these commands need --endpoint.",
		Args:  noWords,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(webImportCommand(do), webRefreshCommand(do), webDeleteCommand(do))
	return cmd
}

func webImportCommand(do runner) *cobra.Command {
	var options jobOptions
	var key vapidFlags
	var topics []string
	cmd := &cobra.Command{
		Use:   "import --vapid-key KEY [--topic TOPIC...] [flags]",
		Short: "Turn push subscriptions into registration tokens",
		Long: `Turn each push subscription into a registration token, and record it. The result's token is the
endpoint, its registration_token the new token. With --topic, the new token is subscribed next.

` + webInput + "\n\n" + webIsOver + ".",
		Example: `  bulksub web import --jsonl subscriptions.jsonl --vapid-key-file vapid.txt --endpoint http://127.0.0.1:8899
  bulksub web import --csv subscriptions.csv --vapid-key-file vapid.txt --topic news --endpoint http://127.0.0.1:8899`,
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := checkTopics(topics)
			if err != nil {
				return err
			}
			actions := []pipeline.Action{{Op: pipeline.WebImport}}
			for _, name := range names {
				actions = append(actions, pipeline.Action{Op: pipeline.Subscribe, Topic: name})
			}
			columns := pushColumns(options.input)
			options.asked = asking{
				tasks: ofPushes(actions), columns: columns[1:], words: sink.Asked{"topic": strings.Join(names, ", ")},
				claims: (&topicFlags{topics: names}).claims(pipeline.Subscribe),
			}
			return runWeb(cmd, options, do, pipeline.WebImport, &key)
		},
	}
	options.add(cmd.Flags())
	makeManyCalls(cmd.Flags())
	key.add(cmd.Flags())
	options.verify.add(cmd.Flags())
	cmd.Flags().StringSliceVar(&topics, "topic", nil, "`NAME` of the topic for the new token, with or without /topics/; several if repeated")
	cmd.Flags().MarkHidden("token-column")
	cmd.Flags().SetAnnotation("token-column", commandLineOnly, nil)
	options.input.tokenColumn = pushColumns(options.input)[0]
	return cmd
}

func webRefreshCommand(do runner) *cobra.Command {
	var options jobOptions
	var key vapidFlags
	cmd := &cobra.Command{
		Use:   "refresh --vapid-key KEY [flags]",
		Short: "Replace the push subscriptions of registration tokens",
		Long: `Replace the push subscription of each registration token. The service may rename the token: the
result's token is the old name, its registration_token the new one.

` + webInput + ` The registration token is beside the
subscription, in --token-column.

` + webIsOver + ".",
		Example: `  bulksub web refresh --csv subscriptions.csv --vapid-key-file vapid.txt --endpoint http://127.0.0.1:8899`,
		Args:    noWords,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.asked = asking{
				tasks:   inPath(ofRefreshes(pipeline.Action{Op: pipeline.WebRefresh})),
				columns: pushColumns(options.input), words: sink.Asked{},
			}
			return runWeb(cmd, options, do, pipeline.WebRefresh, &key)
		},
	}
	options.add(cmd.Flags())
	makeManyCalls(cmd.Flags())
	key.add(cmd.Flags())
	return cmd
}

func webDeleteCommand(do runner) *cobra.Command {
	var options jobOptions
	cmd := &cobra.Command{
		Use:   "delete [flags] [TOKEN...]",
		Short: "Delete the push subscriptions of registration tokens",
		Long: `Delete the push subscription of each registration token from the service; the browser keeps its own.
A token that is gone already is not_found.

` + webIsOver + ".",
		Example: `  bulksub web delete --csv tokens.csv --endpoint http://127.0.0.1:8899`,
		RunE: func(cmd *cobra.Command, tokens []string) error {
			options.asked = asking{
				tasks:  inPath(source.Always(pipeline.Action{Op: pipeline.WebDelete})),
				tokens: tokens, words: sink.Asked{},
			}
			return runWeb(cmd, options, do, pipeline.WebDelete, nil)
		},
	}
	options.add(cmd.Flags())
	makeManyCalls(cmd.Flags())
	return cmd
}

// runWeb runs a job for push subscriptions, with the VAPID key that it needs, if any.
func runWeb(cmd *cobra.Command, options jobOptions, do runner, op pipeline.Op, key *vapidFlags) error {
	a := &options.asked
	a.command, a.small = string(op), true
	if key != nil {
		var err error
		if a.vapidKey, err = key.read(); err != nil {
			return err
		}
		a.words["VAPID key"] = a.vapidKey
	}
	if atGoogle(options.service.endpoint) {
		return &configError{errors.New(strings.ReplaceAll(webIsOver, "\n", " ") + "; name it with --endpoint")}
	}
	return do(cmd, options)
}

// atGoogle reports whether an endpoint is Google's own.
func atGoogle(endpoint string) bool {
	google, _ := url.Parse(iidclient.DefaultEndpoint)
	asked, err := url.Parse(endpoint)
	return err == nil && strings.EqualFold(strings.TrimSuffix(asked.Hostname(), "."), google.Hostname())
}

// pushColumns are where a push subscription stands: its endpoint, auth and p256dh.
func pushColumns(f inputFlags) []string {
	if f.jsonl != "" {
		return []string{"endpoint", "keys.auth", "keys.p256dh"}
	}
	return []string{"endpoint", "auth", "p256dh"}
}

// ofPushes makes tasks of rows whose token is the endpoint.
func ofPushes(actions []pipeline.Action) source.Tasks {
	return func(endpoint string, fields []string) source.Task {
		return pushTask(iid.Push{Subscription: subscription(endpoint, fields[0], fields[1])}, actions)
	}
}

// ofRefreshes makes tasks of rows whose token stands beside the subscription.
func ofRefreshes(action pipeline.Action) source.Tasks {
	actions := []pipeline.Action{action}
	return func(token string, fields []string) source.Task {
		return pushTask(iid.Push{Token: token, Subscription: subscription(fields[0], fields[1], fields[2])}, actions)
	}
}

func subscription(endpoint, auth, p256dh string) iidclient.Subscription {
	return iidclient.Subscription{Endpoint: endpoint, Keys: iidclient.SubscriptionKeys{Auth: auth, P256DH: p256dh}}
}

func pushTask(p iid.Push, actions []pipeline.Action) source.Task {
	if err := p.Check(); err != nil {
		return source.Task{Flaw: err.Error()}
	}
	return source.Task{Actions: actions, Subject: p.Subject()}
}
