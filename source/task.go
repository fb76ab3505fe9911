package source

import (
	"cmp"

	"github.com/bulksub/bulksub/pipeline"
)

// Reading says what is read of each row, and what is to be done with it.
type Reading struct {
	Token   string   // the column of the token
	Columns []string // the further columns that Tasks wants
	// Grouped brings rows with the same first further column together, so that
	// the batches of thousands of topics are full.
	Grouped bool
	Tasks   Tasks
}

// Tasks makes a row's task from its token and the fields of the further columns, in
// their order; a field that is null or missing is "". It is called by one goroutine at
// a time.
type Tasks func(token string, fields []string) Task

// Task is what is to be done with a row.
type Task struct {
	Actions []pipeline.Action
	Subject string // what is sent in place of the token; "": the token
	Flaw    string // why the row is not worth a call; "": it is
}

// Always gives every row the same actions.
func Always(actions ...pipeline.Action) Tasks {
	return func(string, []string) Task { return Task{Actions: actions} }
}

// row makes a row. A flaw of its token comes before those of its fields.
func (t Tasks) row(key, token string, fields []string) pipeline.Row {
	task := t(token, fields)
	flaw := task.Flaw
	if flaw != "" {
		flaw = cmp.Or(pipeline.TokenFlaw(token), flaw)
	}
	return pipeline.Row{Key: key, Token: token, Subject: task.Subject, Actions: task.Actions, Flaw: flaw}
}
