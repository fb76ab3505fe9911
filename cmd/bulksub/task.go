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
	columns []string   // further columns that tasks wants
	grouped bool       // by the first of them
	write   string     // the column of the row that gets its registration token
	single  bool       // the token goes through the call for a single relation
	sync    *syncFlags // nil: what is to be sent stands in the input
	small   bool       // a call carries one token, and many go at a time
	census  bool       // the summary counts what the results tell of the tokens
	claims  claims     // what can be verified of its rows
	// vapidKey is the application server's public key, for push subscriptions.
	vapidKey string
}

// changes reports whether the job changes topics.
func (a *asking) changes() bool {
	return a.words["topic"]+a.words["topic column"]+a.words["from"] != ""
}

// topic is what becomes of topics, in words.
func (a *asking) topic() string {
	switch w := a.words; {
	case w["from"] != "":
		return "from " + w["from"] + " to " + w["to"]
	case w["topic column"] != "":
		return "stands in column " + w["topic column"]
	default:
		return w["topic"]
	}
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
	flags.StringArrayVar(&f.topics, "topic", nil, "`NAME` of the topic, with or without /topics/; several for each token if repeated")
	flags.StringVar(&f.column, "topic-column", "", "`NAME` of the column that holds the row's topic")
}

// check finds what is wrong with the flags, and brings the topics to the form that
// the service uses.
func (f *topicFlags) check() error {
	if f.column != "" && len(f.topics) > 0 {
		return usagef("give either --topic, the same for all rows, or --topic-column, a topic in each row")
	}
	var topics []string
	for _, given := range f.topics {
		topics = append(topics, strings.Split(given, ",")...) // no topic has a comma, and a variable can hold several
	}
	names, err := checkTopics(topics)
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

// rowActions makes a row's actions from the fields of the further columns. An error is
// the row's flaw.
type rowActions func(fields []string) ([]pipeline.Action, error)

// ask adds the topics to what is asked. Each row does what before makes of the columns
// that were there already, and then op for each of its topics.
func (f *topicFlags) ask(a *asking, op pipeline.Op, before ...rowActions) {
	if f.column == "" {
		a.words["topic"] = strings.Join(f.topics, ", ")
	} else {
		a.words["topic column"] = f.column
		a.columns, a.grouped = slices.Insert(a.columns, 0, f.column), true
	}
	a.tasks = remembered(func(fields []string) ([]pipeline.Action, error) {
		topics, others, err := f.take(fields)
		if err != nil {
			return nil, err
		}
		var actions []pipeline.Action
		for _, first := range before {
			more, err := first(others)
			if err != nil {
				return nil, err
			}
			actions = append(actions, more...)
		}
		for _, topic := range topics {
			actions = append(actions, pipeline.Action{Op: op, Topic: topic})
		}
		return actions, nil
	})
}

// take takes the row's topics from its fields.
func (f *topicFlags) take(fields []string) (topics, others []string, err error) {
	if f.column == "" {
		return f.topics, fields, nil
	}
	topic, err := iidclient.CheckTopic(fields[0])
	if err != nil {
		return nil, nil, err
	}
	return []string{topic}, fields[1:], nil
}

// mostTasks bounds how many different tasks are remembered.
const mostTasks = 100_000

// remembered makes the task of rows with the same fields once, for them to share. Most rows have the fields of the row
// before, or none at all.
func remembered(actions rowActions) source.Tasks {
	known := make(map[string]*source.Task)
	var last string
	var task *source.Task
	return func(_ string, fields []string) source.Task {
		key := strings.Join(fields, "\x00")
		if task != nil && key == last {
			return *task
		}
		last, task = strings.Clone(key), known[key] // a clone: the key can be a part of a long record
		if task == nil {
			if len(known) == mostTasks {
				clear(known)
			}
			task = newTask(actions(fields))
			known[last] = task
		}
		return *task
	}
}

func newTask(actions []pipeline.Action, err error) *source.Task {
	if err != nil {
		return &source.Task{Flaw: err.Error()}
	}
	return &source.Task{Actions: actions}
}
