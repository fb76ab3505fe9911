package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/sink/prune"
)

// outcome is what came of a job at its end: what each of its processes tells.
type outcome struct {
	Summary *summary `json:"summary"` // without what is a run's own
	Trouble *trouble `json:"trouble,omitempty"`
	// What was done besides, as the process was asked that came to the end first.
	Pruned   bool `json:"pruned,omitempty"`
	Verified bool `json:"verified,omitempty"`
}

// trouble is what stopped a job at its end, in whichever process. It is kept with the job.
type trouble struct {
	Exit     int    `json:"exit"` // code of all its processes
	Words    string `json:"words"`
	HeldBack bool   `json:"prune_held_back,omitempty"`
}

func (t *trouble) Error() string { return t.Words }

// lastWork is what is left when every row has a result.
type lastWork func(context.Context, sink.Ending) (*outcome, error)

// end has the last work done, by this process or another, and adopts its outcome. What another
// was not asked for is done at an end of its own. control is nil if nothing is to be looked up.
func (j *job) end(ctx context.Context, control *control) error {
	work := func(ctx context.Context, e sink.Ending) (*outcome, error) {
		return j.outcomeOf(ctx, j.lastWork(ctx, control, e))
	}
	o, err := j.sink.end(ctx, work)
	for err == nil && j.wantsMore(o) {
		o, err = j.sink.end(ctx, work)
	}
	if err != nil {
		return err
	}
	if j.outcome = o; o.Trouble != nil {
		return o.Trouble
	}
	return nil
}

// wantsMore reports whether this process was asked for more than an outcome has. What stopped
// another stops this one too.
func (j *job) wantsMore(o *outcome) bool {
	return o.Trouble == nil && (j.options.prune.on() && !o.Pruned || j.options.verify.rows > 0 && !o.Verified)
}

// lastWork looks at some rows that are done, and prunes.
func (j *job) lastWork(ctx context.Context, control *control, e sink.Ending) error {
	if j.options.verify.rows > 0 {
		if err := j.verify(ctx, control, e.Lease); err != nil {
			return err
		}
	}
	if j.options.prune.on() {
		return j.sink.prune(ctx, e.Fence)
	}
	return nil
}

// outcomeOf is what comes of the last work. What would stop it again and again is the job's
// outcome; other errors leave it to others.
func (j *job) outcomeOf(ctx context.Context, err error) (*outcome, error) {
	held := is[*prune.BrakeError](err)
	if err != nil && !held && !is[*verifyError](err) && !is[*postgres.RelationError](err) {
		return nil, err
	}
	o := &outcome{Pruned: j.options.prune.on(), Verified: j.options.verify.rows > 0}
	if err != nil {
		o.Trouble = &trouble{Exit: exitCode(err), Words: err.Error(), HeldBack: held}
	}
	o.Summary, err = j.summarize(ctx, err)
	return o, err
}

// end has the last work done once, by one process of the job.
func (l *inDatabase) end(ctx context.Context, work lastWork) (*outcome, error) {
	kept, err := l.End(ctx, func(ctx context.Context, e sink.Ending) (json.RawMessage, error) {
		o, err := work(ctx, e)
		if err != nil {
			return nil, err
		}
		return json.Marshal(o)
	})
	if err != nil {
		return nil, err
	}
	o := new(outcome)
	if err := json.Unmarshal(kept, o); err != nil {
		return nil, fmt.Errorf("read how job %s ended: %w", l.name(), err)
	}
	return o, nil
}

// end drops what is no longer needed of the plan besides.
func (l *inSync) end(ctx context.Context, work lastWork) (*outcome, error) {
	return l.inDatabase.end(ctx, func(ctx context.Context, e sink.Ending) (*outcome, error) {
		if err := l.DropPlan(ctx, e.Fence); err != nil {
			return nil, err
		}
		return work(ctx, e)
	})
}

// end seals the file first.
func (l *inFile) end(ctx context.Context, work lastWork) (*outcome, error) {
	if err := l.Complete(ctx); err != nil {
		return nil, err
	}
	return work(ctx, sink.Ending{})
}

func (*unrecorded) end(ctx context.Context, work lastWork) (*outcome, error) {
	return work(ctx, sink.Ending{})
}
