package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

func infoCommand(do runner) *cobra.Command {
	var options jobOptions
	cmd := &cobra.Command{
		Use:   "info [flags] [TOKEN...]",
		Short: "Ask what the service knows of tokens: platform, app, project, topics",
		Long: `Ask what the service knows of each token, and record it as the result's detail: platform, application,
application_version, authorized_entity (the project's number), connection_type, connect_date, and the topics
with the day of each subscription. It changes nothing, and makes one call for each token.

The summary counts the whole job's tokens by platform, by topic and by project. With --prune, info
deletes or marks the rows whose token is gone, and touches no topic.`,
		Example: `  bulksub info --csv tokens.csv --credentials service-account.json
  bulksub info --table users --token-column fcm_token --prune delete
  bulksub info TOKEN`,
		RunE: func(cmd *cobra.Command, tokens []string) error {
			options.asked = asking{
				command: "info", words: sink.Asked{}, tokens: tokens, kind: fcmTokens, small: true, census: true,
				tasks: inPath(source.Always(pipeline.Action{Op: pipeline.Info})),
			}
			return do(cmd, options)
		},
	}
	options.add(cmd.Flags())
	makeManyCalls(cmd.Flags())
	return cmd
}

// makeManyCalls sets the flags of a command whose calls carry one token: it is quick
// by making hundreds of them at a time.
func makeManyCalls(flags *pflag.FlagSet) {
	concurrency := flags.Lookup("concurrency")
	concurrency.DefValue = "256"
	concurrency.Value.Set(concurrency.DefValue)
	flags.MarkHidden("batch-size")
}

// inPath refuses tokens that cannot stand in the path of a call.
func inPath(tasks source.Tasks) source.Tasks {
	return func(token string, fields []string) source.Task {
		task := tasks(token, fields)
		if err := iidclient.CheckToken(token); err != nil {
			task.Flaw = err.Error()
		}
		return task
	}
}
