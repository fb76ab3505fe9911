package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// line is the command line of a job, as it is kept with the job: with what the
// environment said, and without the flags of a run, which name secrets and the machine
// that it ran on.
type line struct {
	Command []string            `json:"command"`
	Flags   map[string][]string `json:"flags,omitempty"`
	Tokens  []string            `json:"tokens,omitempty"`
}

// lineOf reads the line off a command that is about to run.
func lineOf(cmd *cobra.Command, tokens []string) (line, error) {
	l := line{Command: strings.Fields(cmd.CommandPath())[1:], Flags: make(map[string][]string), Tokens: tokens}
	ofRun := pflag.NewFlagSet("", pflag.ContinueOnError)
	var o jobOptions
	o.ledger.add(ofRun)
	o.addRun(ofRun)
	var err error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed || err != nil || ofRun.Lookup(f.Name) != nil {
			return
		}
		l.Flags[f.Name], err = valuesOf(f)
	})
	return l, err
}

// valuesOf lists what a flag says. A file is named by its whole path.
func valuesOf(f *pflag.Flag) ([]string, error) {
	if many, ok := f.Value.(pflag.SliceValue); ok {
		return many.GetSlice(), nil
	}
	value := f.Value.String()
	if kind, _ := pflag.UnquoteUsage(f); kind != "FILE" || value == "-" {
		return []string{value}, nil
	}
	path, err := filepath.Abs(value)
	if err != nil {
		return nil, fmt.Errorf("the path of --%s: %w", f.Name, err)
	}
	return []string{path}, nil
}

func (l line) text() json.RawMessage {
	text, _ := json.Marshal(l)
	return text
}

// apply sets the flags of a command to what the line says.
func (l line) apply(flags *pflag.FlagSet) error {
	for name, values := range l.Flags {
		f := flags.Lookup(name)
		if f == nil {
			return fmt.Errorf("there is no flag --%s", name)
		}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			if err := many.Replace(values); err != nil {
				return err
			}
			f.Changed = true
			continue
		}
		if err := flags.Set(name, strings.Join(values, "")); err != nil {
			return err
		}
	}
	return nil
}

// String writes the line for a shell. Tokens are counted and not shown (P8).
func (l line) String() string {
	words := append([]string{"bulksub"}, l.Command...)
	for _, name := range slices.Sorted(maps.Keys(l.Flags)) {
		for _, value := range l.Flags[name] {
			words = append(words, "--"+name, quotedForShell(value))
		}
	}
	if n := len(l.Tokens); n > 0 {
		words = append(words, fmt.Sprintf("(%d tokens)", n))
	}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=,%+@-]+$`)

func quotedForShell(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
