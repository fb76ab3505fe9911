package sink

import (
	"context"
	"sync"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

// Steering is a [pipeline.Budget] that heeds what people say to a job while it runs: [Pause],
// [Continue], [Cancel], [SetRate]. It looks at the job's row every two seconds, so that
// fifty processes cost the database 25 look-ups by a key a second; while the database
// cannot be asked, what was said last holds.
type Steering struct {
	pipeline.Budget
	own       *pipeline.Limiter // of this process
	job       *Postgres
	perSecond float64 // the rate while none is set for the job

	mu   sync.Mutex
	free chan struct{} // closed while the job is not paused
	shut error         // why the job is not to be worked on any more

	stop   chan struct{}
	cancel context.CancelFunc
}

var _ pipeline.Budget = (*Steering)(nil)

// steerEvery leaves a process that waits room for a look at what is left every two and a half seconds, and for
// metrics that are scraped every 15 seconds and pushed every 30: with all of them it asks one question a second.
const steerEvery = 2 * time.Second

// Steer begins to watch an open job, until ctx ends or Close. It blocks until it has
// seen what was said so far: a [*ClosedError] if the job was cancelled. own is the limiter
// of this process, to which budget keeps or which it is itself; perSecond is its rate while
// none is set for the job.
func Steer(ctx context.Context, job *Postgres, budget pipeline.Budget, own *pipeline.Limiter, perSecond float64) (*Steering, error) {
	s := &Steering{Budget: budget, own: own, job: job, perSecond: perSecond, free: make(chan struct{}), stop: make(chan struct{})}
	close(s.free)
	err := job.retry.Do(ctx, func(ctx context.Context, _ bool) error { return s.look(ctx) })
	if err == nil {
		err = s.Err()
	}
	if err != nil {
		return nil, err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	go s.watch(ctx)
	return s, nil
}

// Close ends the watch, and with it Stop.
func (s *Steering) Close() {
	s.cancel()
	<-s.stop
}

// Stop is closed when the job is to drain: somebody has cancelled it, or ctx has
// ended.
func (s *Steering) Stop() <-chan struct{} { return s.stop }

// Err is a [*ClosedError] once the job has been cancelled, else nil.
func (s *Steering) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shut
}

// Paused reports whether no call may begin now.
func (s *Steering) Paused() bool {
	select {
	case <-s.unpaused():
		return false
	default:
		return true
	}
}

func (s *Steering) unpaused() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free
}

// Wait blocks while the job is paused, and then as the budget does. What a pause
// comes upon is asked for anew when it ends, so that no burst follows it.
func (s *Steering) Wait(ctx context.Context, n int) (pipeline.Grant, error) {
	for {
		select {
		case <-s.unpaused():
		case <-ctx.Done():
			return pipeline.Grant{}, ctx.Err()
		}
		g, err := s.Budget.Wait(ctx, n)
		if err != nil || !s.Paused() {
			return g, err
		}
	}
}

func (s *Steering) watch(ctx context.Context) {
	defer close(s.stop)
	beat := time.NewTicker(steerEvery)
	defer beat.Stop()
	for s.Err() == nil {
		select {
		case <-beat.C:
			s.tryLook(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// tryLook leaves an error to the next beat.
func (s *Steering) tryLook(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	s.look(ctx)
}

// look sees what has been said, and heeds it.
func (s *Steering) look(ctx context.Context) error {
	var state string
	var paused bool
	var rate *float64
	err := s.job.pool.QueryRow(ctx, `select state, paused, rate from bulksub.jobs where id = $1`, s.job.job.ID).Scan(&state, &paused, &rate)
	if err != nil {
		return err
	}
	s.heed(state, paused)
	s.adopt(rate)
	return nil
}

func (s *Steering) heed(state string, paused bool) {
	was := s.Paused()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = closed(s.job.job.Name, state)
	switch {
	case paused && !was:
		s.free = make(chan struct{})
	case !paused && was:
		close(s.free)
	}
}

// adopt goes over to the rate that is set for the job, or back to our own.
func (s *Steering) adopt(rate *float64) {
	if rate == nil {
		rate = &s.perSecond
	}
	s.own.SetRate(*rate)
}
