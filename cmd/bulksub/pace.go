package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

// pace is when a run may call, and when it must end.
type pace struct {
	budget   pipeline.Budget
	stop     <-chan struct{}
	steering *sink.Steering // nil: nobody can say anything to the job
	cancel   context.CancelFunc
}

// openPace opens the rate at which this process may call: shared with others
// through the database, where people say what becomes of the job, or its own.
func (j *job) openPace(ctx context.Context, s *signals) (*pace, error) {
	f := j.options.service
	if j.database == nil {
		return &pace{budget: j.limiter, stop: s.stop, cancel: func() {}}, nil
	}
	budget, err := sink.OpenBudget(ctx, j.in.pool, j.service.project, j.limiter, f.patience)
	if err != nil {
		return nil, err
	}
	watching, cancel := s.until(ctx)
	steering, err := sink.Steer(watching, j.database, budget, f.rate)
	if err != nil {
		cancel()
		return nil, err
	}
	return &pace{budget: steering, stop: steering.Stop(), steering: steering, cancel: cancel}, nil
}

func (p *pace) paused() bool { return p.steering != nil && p.steering.Paused() }

// verdict is what the end of a run means: one that was drained because the job
// was cancelled says so.
func (p *pace) verdict(err error) error {
	if p.steering != nil && (err == nil || errors.Is(err, pipeline.ErrStopped)) {
		err = cmp.Or(p.steering.Err(), err)
	}
	return err
}

func (p *pace) close() {
	if p.steering != nil {
		p.steering.Close()
	}
	p.cancel()
}
