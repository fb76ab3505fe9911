package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// wellKnown are the variables that have a name of their own; every other flag
// has BULKSUB_ and its name.
var wellKnown = map[string]string{
	"database-url": "DATABASE_URL",
	"credentials":  "GOOGLE_APPLICATION_CREDENTIALS",
}

// alternatives are flags of which one is given: one on the command line beats
// the others in the environment.
var alternatives = [][]string{
	{"csv", "jsonl", "table", "query"},
	{"topic", "topic-column"},
	{"bundle-id", "bundle-id-column"},
	{"sandbox", "sandbox-column"},
	{"credentials", "server-key-file"},
	{"vapid-key", "vapid-key-file"},
}

func variable(flag string) string {
	if name, ok := wellKnown[flag]; ok {
		return name
	}
	return "BULKSUB_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// commandLineOnly marks a flag that a variable must not set: one that is there
// for other commands would make this one do what nobody asked for.
const commandLineOnly = "command line only"

func fromEnvironment(f *pflag.Flag) bool {
	_, never := f.Annotations[commandLineOnly]
	return !never && f.Name != "help" && f.Name != "version"
}

// bindEnvironment gives every flag that is not on the command line its value
// from the environment.
func bindEnvironment(cmd *cobra.Command, lookup func(string) (string, bool)) error {
	flags := cmd.Flags()
	given := make(map[string]bool)
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		value, set := lookup(variable(f.Name))
		if err != nil || !set || value == "" || !fromEnvironment(f) || given[f.Name] || beaten(f.Name, given) {
			return
		}
		if wrong := flags.Set(f.Name, value); wrong != nil {
			err = &usageError{fmt.Errorf("$%s: %w", variable(f.Name), plainly(wrong))}
		}
	})
	return err
}

func beaten(flag string, given map[string]bool) bool {
	for _, group := range alternatives {
		in, other := false, false
		for _, name := range group {
			in = in || name == flag
			other = other || given[name]
		}
		if in && other {
			return true
		}
	}
	return false
}

// describeEnvironment adds its variable to each flag's description.
func describeEnvironment(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if fromEnvironment(f) {
				f.Usage += " ($" + variable(f.Name) + ")"
			}
		})
		describeEnvironment(cmd)
	}
}
