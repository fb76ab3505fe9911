package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/sink/budget"
)

// control is when a run may call, and when it must end.
type control struct {
	budget   pipeline.Budget
	stop     <-chan struct{}
	steering *sink.Steering // nil: nobody can say anything to the job
	cancel   context.CancelFunc
}

// openControl opens the rate at which this process may call: shared with others
// through the database, where people say what becomes of the job, or its own.
func (j *job) openControl(ctx context.Context, s *signals) (*control, error) {
	f := j.options.service
	if j.database == nil {
		return &control{budget: j.limiter, stop: s.stop, cancel: func() {}}, nil
	}
	shared, err := budget.Open(ctx, j.in.pool, j.service.project, j.limiter, f.patience)
	if err != nil {
		return nil, err
	}
	watching, cancel := s.until(ctx)
	steering, err := sink.Steer(watching, j.database, shared, j.limiter, f.rate)
	if err != nil {
		cancel()
		return nil, err
	}
	return &control{budget: steering, stop: steering.Stop(), steering: steering, cancel: cancel}, nil
}

func (c *control) paused() bool { return c.steering != nil && c.steering.Paused() }

// verdict is what the end of a run means: one that was drained, or whose last work was dropped, because the job
// was cancelled says so.
func (c *control) verdict(err error) error {
	if c.steering != nil && (err == nil || errors.Is(err, pipeline.ErrStopped) || errors.Is(err, context.Canceled)) {
		err = cmp.Or(c.steering.Err(), err)
	}
	return err
}

func (c *control) close() {
	if c.steering != nil {
		c.steering.Close()
	}
	c.cancel()
}
