package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

// asking is what a command makes of its own flags.
type asking struct {
	command string
	words   sink.Asked // what was asked besides: the topic, from where to where, …
	tokens  []string   // given as arguments
	kind    kind       // of the tokens; "": any
	tasks   source.Tasks
	columns []string // further columns that tasks wants
	grouped bool     // by the first of them
	single  bool     // the token goes through the call for a single relation
}

// reading says how rows are read.
func (a *asking) reading(tokenColumn string) source.Reading {
	return source.Reading{Token: tokenColumn, Columns: a.columns, Grouped: a.grouped, Tasks: a.tasks}
}

// all is what identifies the job, without its input.
func (a *asking) all() sink.Asked {
	all := maps.Clone(a.words)
	all["command"] = a.command
	return all
}

// topicFlags name the topics of a command: for all rows, or one in each row.
type topicFlags struct {
	topics []string
	column string
}

func (f *topicFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.topics, "topic", nil, "`NAME` of the topic, with or without /topics/; several for each token if repeated")
	flags.StringVar(&f.column, "topic-column", "", "`NAME` of the column that holds the row's topic")
}

// check finds what is wrong with the flags, and brings the topics to the form that
// the service uses.
func (f *topicFlags) check() error {
	if f.column != "" && len(f.topics) > 0 {
		return usagef("the topic is the same for all rows or stands in each: give --topic or --topic-column")
	}
	names, err := checkTopics(f.topics)
	if err != nil {
		return err
	}
	f.topics = names
	return nil
}

func checkTopics(topics []string) ([]string, error) {
	names := make([]string, len(topics))
	for i, topic := range topics {
		name, err := iidclient.CheckTopic(topic)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names[:i], name) {
			return nil, usagef("--topic %s is given twice", name)
		}
		names[i] = name
	}
	return names, nil
}

// ask adds the topics to what is asked. Each row does what before says, and then op for
// each of its topics.
func (f *topicFlags) ask(a *asking, op pipeline.Op, before ...pipeline.Action) {
	if f.column == "" {
		actions := slices.Clone(before)
		for _, topic := range f.topics {
			actions = append(actions, pipeline.Action{Op: op, Topic: topic})
		}
		a.words["topic"] = strings.Join(f.topics, ", ")
		a.tasks = source.Always(actions...)
		return
	}
	a.words["topic column"] = f.column
	a.columns, a.grouped = []string{f.column}, true
	a.tasks = byTopic(func(topic string) []pipeline.Action {
		return append(slices.Clone(before), pipeline.Action{Op: op, Topic: topic})
	})
}

// mostTasks bounds how many topics' tasks are remembered.
const mostTasks = 100_000

// byTopic makes tasks from the topic in a row's first field.
func byTopic(actions func(topic string) []pipeline.Action) source.Tasks {
	known := make(map[string]source.Task)
	return func(_ string, fields []string) source.Task {
		task, ok := known[fields[0]]
		if ok {
			return task
		}
		if len(known) == mostTasks {
			clear(known)
		}
		if name, err := iidclient.CheckTopic(fields[0]); err != nil {
			task.Flaw = "the row's topic: " + err.Error()
		} else {
			task.Actions = actions(name)
		}
		known[strings.Clone(fields[0])] = task
		return task
	}
}
