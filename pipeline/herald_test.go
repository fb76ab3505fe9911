package pipeline_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

// herald is a sink that is told of calls, and may take its time or refuse.
type herald struct {
	pipeline.Sink
	service *service
	takes   func(n int64) (time.Duration, error)
	told    atomic.Int64 // tokens
	calls   atomic.Int64
	ended   atomic.Int64
	unsent  atomic.Int64              // the most tokens that were told of and not sent
	last    atomic.Pointer[time.Time] // when it was told
	lost    atomic.Int64              // tokens of calls without an answer
}

func (h *herald) Ended(_ context.Context, _ pipeline.Action, tokens []string, lingers bool) error {
	h.ended.Add(1)
	if lingers {
		h.lost.Add(int64(len(tokens)))
	}
	return nil
}

func (h *herald) Announce(ctx context.Context, _ pipeline.Action, tokens []string) error {
	told := h.told.Add(int64(len(tokens)))
	h.service.mu.Lock()
	for _, c := range h.service.calls {
		told -= int64(len(c.tokens))
	}
	h.service.mu.Unlock()
	h.unsent.Store(max(h.unsent.Load(), told))
	wait, err := h.takes(h.calls.Add(1))
	now := time.Now()
	h.last.Store(&now)
	if err != nil {
		return err
	}
	return pause(ctx, wait)
}

// TestAnnouncedBeforeSent: the sink hears of each call, and of one at most that waits for
// the budget; what it holds up is no burst.
func TestAnnouncedBeforeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 3 * time.Second}
		j := newJob(60_000, s)
		j.Rate = 3000
		h := &herald{service: s, takes: func(n int64) (time.Duration, error) {
			if n == 20 {
				return 10 * time.Second, nil
			}
			return 30 * time.Millisecond, nil
		}}
		s.trouble = func(n int, _ pipeline.Action, _ []string) error {
			if h.calls.Load() < int64(n) {
				t.Errorf("call %d was not announced", n)
			}
			return nil
		}
		h.Sink = j.process()
		if err := pipeline.Run(t.Context(), pipeline.Job{Source: j.rows, Sink: h, Service: s}, j.Options); err != nil {
			t.Fatal(err)
		}
		j.once(t)
		if h.unsent.Load() > 2000 {
			t.Errorf("%d tokens were announced and not sent", h.unsent.Load())
		}
		if s.busiest() > 4000 {
			t.Errorf("%d operations in a second", s.busiest())
		}
	})
}

// TestCallsOfOneAreAnnouncedSideBySide: hundreds of them do not wait for each other.
func TestCallsOfOneAreAnnouncedSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{limit: 1}
		j := newJob(1000, s)
		j.Concurrency = 100
		h := &herald{service: s, takes: func(int64) (time.Duration, error) { return 100 * time.Millisecond, nil }}
		h.Sink = j.process()
		began := time.Now()
		if err := pipeline.Run(t.Context(), pipeline.Job{Source: j.rows, Sink: h, Service: s}, j.Options); err != nil {
			t.Fatal(err)
		}
		j.once(t)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestFreshAnnouncement: a call that has waited for its turn is announced again.
func TestFreshAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		j := newJob(5000, s)
		j.Rate = 20
		h := &herald{service: s, takes: func(int64) (time.Duration, error) { return 0, nil }}
		s.trouble = func(n int, _ pipeline.Action, _ []string) error {
			if old := time.Since(*h.last.Load()); old > pipeline.Fresh {
				t.Errorf("call %d was announced %v ago", n, old)
			}
			return nil
		}
		h.Sink = j.process()
		if err := pipeline.Run(t.Context(), pipeline.Job{Source: j.rows, Sink: h, Service: s}, j.Options); err != nil {
			t.Fatal(err)
		}
		j.once(t)
		if n, ended := h.calls.Load(), h.ended.Load(); n != 5+4 || ended != n {
			t.Errorf("%d announcements of 5 calls, 4 of which have waited, and %d have ended", n, ended)
		}
	})
}

// TestEnded: the sink hears of each call that it has ended, and which ones may yet be carried out.
func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		j := newJob(10_000, s)
		h := &herald{service: s, takes: func(int64) (time.Duration, error) { return 0, nil }}
		s.trouble = func(n int, _ pipeline.Action, _ []string) error {
			if n == 2 || n == 5 {
				return &pipeline.CallError{Kind: pipeline.Unavailable, Lingers: n == 5, Err: errors.New("no verdict")}
			}
			return nil
		}
		h.Sink = j.process()
		if err := pipeline.Run(t.Context(), pipeline.Job{Source: j.rows, Sink: h, Service: s}, j.Options); err != nil {
			t.Fatal(err)
		}
		j.once(t)
		if n, ended := h.lost.Load(), h.ended.Load(); n != 1000 || ended != 10+2 {
			t.Errorf("told of %d tokens whose call had no answer, and that %d calls have ended", n, ended)
		}
	})
}

// TestEndedUnsent: the sink hears of a call that it will not be made, since the run has been stopped while it waited.
func TestEndedUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop, s := make(chan struct{}), &service{}
		j := newJob(5000, s)
		j.Rate, j.Stop = 20, stop
		h := &herald{service: s, takes: func(n int64) (time.Duration, error) {
			if n == 2 {
				time.AfterFunc(time.Second, func() { close(stop) })
			}
			return 0, nil
		}}
		h.Sink = j.process()
		err := pipeline.Run(t.Context(), pipeline.Job{Source: j.rows, Sink: h, Service: s}, j.Options)
		if !errors.Is(err, pipeline.ErrStopped) || len(s.calls) != 1 {
			t.Errorf("ended with %v after %d calls", err, len(s.calls))
		}
		if n, ended := h.calls.Load(), h.ended.Load(); n != 2 || ended != n {
			t.Errorf("%d calls were announced, and %d have ended", n, ended)
		}
	})
}

// TestRefusedAnnouncement: what the sink cannot note is not sent.
func TestRefusedAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full, s := errors.New("full"), &service{}
		j := newJob(10_000, s)
		j.Concurrency = 1
		h := &herald{service: s, takes: func(n int64) (time.Duration, error) {
			if n == 4 {
				return 0, full
			}
			return 0, nil
		}}
		h.Sink = j.process()
		if err := pipeline.Run(t.Context(), pipeline.Job{Source: j.rows, Sink: h, Service: s}, j.Options); !errors.Is(err, full) {
			t.Errorf("ended with %v", err)
		}
		if len(s.calls) != 3 || len(j.results) != 3000 {
			t.Errorf("%d calls, %d results", len(s.calls), len(j.results))
		}
		j.must(t)
		j.once(t)
	})
}
