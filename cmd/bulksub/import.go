package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

// importFlags say what is imported, and what is done with the new tokens.
type importFlags struct {
	app    appFlags
	topics topicFlags
	column string // of the row, for its new token
}

func importCommand(do runner) *cobra.Command {
	var f importFlags
	var options jobOptions
	cmd := &cobra.Command{
		Use:   "import --bundle-id ID [--sandbox] [--topic TOPIC...] [flags] [APNS-TOKEN...]",
		Short: "Turn APNs tokens into FCM registration tokens, and subscribe them",
		Long: `Turn each APNs token of an iOS app into an FCM registration token, and record that with the result.
With --topic or --topic-column, also subscribe the new token; a row is ok when all of that is done.

With a database, the new tokens of ok rows are also kept in bulksub.tokens. With --write-column,
a row gets its new token too, if it still holds the APNs token and nothing is in that column yet.

An APNs token is an even number of hex digits, mostly 64. Anything else is recorded as malformed, such
as the 1.2E+10 that a spreadsheet makes of some tokens. If the service rejects most tokens, they belong
to another app or to its other environment: tokens of development builds need --sandbox.`,
		Example: `  bulksub import --bundle-id com.example.app --topic news --csv apns.csv --credentials service-account.json
  bulksub import --bundle-id com.example.app --table devices --token-column apns_token --write-column fcm_token
  bulksub import --bundle-id-column app --sandbox-column environment --csv apns.csv`,
		RunE: func(cmd *cobra.Command, tokens []string) error {
			if err := f.check(options); err != nil {
				return err
			}
			options.asked = f.ask()
			options.asked.tokens = tokens
			return do(cmd, options)
		},
	}
	f.app.add(cmd.Flags())
	f.topics.add(cmd.Flags())
	cmd.Flags().StringVar(&f.column, "write-column", "", "`NAME` of the table's column that gets the registration token, if it is empty")
	options.add(cmd.Flags())
	options.verify.add(cmd.Flags())
	cmd.Flags().SetAnnotation("prune", commandLineOnly, nil)
	return cmd
}

func (f *importFlags) check(o jobOptions) error {
	switch {
	case o.prune.on():
		return usagef("--prune is %s, but an import prunes nothing: it tells of no token that it is gone for good", o.prune.mode)
	case f.column != "" && o.input.table == "":
		return usagef("--write-column is a column of the table that the APNs tokens come from; it needs --table")
	}
	if err := f.app.check(); err != nil {
		return err
	}
	return f.topics.check()
}

// ask is an import, and the subscription of what it gives.
func (f *importFlags) ask() asking {
	a := asking{command: "import", words: f.app.words(), columns: f.app.columns(), kind: apnsTokens, write: f.column}
	if f.column != "" {
		a.words["write column"] = f.column
	}
	f.topics.ask(&a, pipeline.Subscribe, f.app.actions)
	a.tasks = ofAPNs(a.tasks)
	a.claims = f.topics.claims(pipeline.Subscribe)
	return a
}

// appFlags say which app the APNs tokens are of: one for all rows, or one in each.
type appFlags struct {
	bundleID, bundleIDColumn string
	sandbox                  bool
	sandboxColumn            string
}

func (f *appFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.bundleID, "bundle-id", "", "bundle `ID` of the app that the APNs tokens belong to, such as com.example.app")
	flags.StringVar(&f.bundleIDColumn, "bundle-id-column", "", "`NAME` of the column that holds the row's bundle ID")
	flags.BoolVar(&f.sandbox, "sandbox", false, "the tokens belong to the APNs sandbox, so to development builds")
	flags.StringVar(&f.sandboxColumn, "sandbox-column", "", "`NAME` of the column that tells whether the row's token belongs to the sandbox: true, yes, 1, sandbox, development, or their opposites")
}

// check finds what is wrong with the flags.
func (f *appFlags) check() error {
	switch {
	case f.bundleID == "" && f.bundleIDColumn == "":
		return usagef("there is no app: give --bundle-id ID or --bundle-id-column NAME")
	case f.bundleID != "" && f.bundleIDColumn != "":
		return usagef("give either --bundle-id, one app for all rows, or --bundle-id-column, an app in each row")
	case f.sandbox && f.sandboxColumn != "":
		return usagef("give either --sandbox, one environment for all rows, or --sandbox-column, an environment in each row")
	case f.bundleID != "":
		return iidclient.CheckBundleID(f.bundleID)
	}
	return nil
}

// words are what was asked.
func (f *appFlags) words() sink.Asked {
	words := sink.Asked{}
	for word, value := range map[string]string{
		"application": f.bundleID, "application column": f.bundleIDColumn, "environment column": f.sandboxColumn,
	} {
		if value != "" {
			words[word] = value
		}
	}
	if f.sandbox {
		words["environment"] = "sandbox"
	}
	return words
}

// columns are those that actions wants the fields of.
func (f *appFlags) columns() []string {
	return slices.DeleteFunc([]string{f.bundleIDColumn, f.sandboxColumn}, func(name string) bool { return name == "" })
}

// actions imports the row's token for its app.
func (f *appFlags) actions(fields []string) ([]pipeline.Action, error) {
	action := pipeline.Action{Op: pipeline.Import, Application: f.bundleID, Sandbox: f.sandbox}
	if f.bundleIDColumn != "" {
		action.Application, fields = fields[0], fields[1:]
		if err := iidclient.CheckBundleID(action.Application); err != nil {
			return nil, fmt.Errorf("the row's bundle ID: %w", err)
		}
	}
	if f.sandboxColumn != "" {
		var known bool
		if action.Sandbox, known = environments[strings.ToLower(strings.TrimSpace(fields[0]))]; !known {
			return nil, fmt.Errorf("the row's environment is neither production (false, no, 0) nor sandbox (true, yes, 1)")
		}
	}
	return []pipeline.Action{action}, nil
}

// environments tells of each word that a row may have whether it means the sandbox.
var environments = map[string]bool{
	"true": true, "t": true, "yes": true, "1": true, "sandbox": true, "development": true,
	"false": false, "f": false, "no": false, "0": false, "production": false,
}

// ofAPNs makes tasks of APNs tokens. Their case does not matter to the service, which
// is sent all of them in lower case: two spellings of one share a place in a call.
func ofAPNs(tasks source.Tasks) source.Tasks {
	return func(token string, fields []string) source.Task {
		task := tasks(token, fields)
		if err := iidclient.CheckAPNsToken(token); err != nil {
			task.Flaw = err.Error()
		}
		task.Subject = strings.ToLower(token)
		return task
	}
}

// checkImport makes sure that what an import gives can be kept where the tokens come
// from.
func (in *input) checkImport(ctx context.Context, a asking) error {
	switch {
	case a.kind == apnsTokens && in.relation.Name == postgres.Quote("bulksub", "tokens"):
		return in.relation.Flaw("an import puts registration tokens into it; import from another table (--table, --query) or a file (--csv)")
	case a.write == "":
		return nil
	}
	return in.writeBack(a).Check(ctx, in.pool)
}

func (in *input) writeBack(a asking) *sink.WriteBack {
	return &sink.WriteBack{Relation: in.relation, Column: a.write}
}

// addEffects has a job keep the tokens that an import gives.
func (in *input) addEffects(p *sink.Postgres, a asking) {
	if a.kind == apnsTokens {
		p.Also(sink.KeepTokens)
	}
	if a.write != "" {
		p.Also(in.writeBack(a).Write)
	}
}
