package pipeline_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

// TestStopDrains: calls in flight are recorded, and neither a new call nor one
// that waits for the limiter is made.
func TestStopDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := &service{latency: 10 * time.Second}, make(chan struct{})
		j, start := newJob(100_000, s), time.Now()
		j.Rate, j.Stop = 1000, stop
		time.AfterFunc(20500*time.Millisecond, func() { close(stop) })
		if err := j.run(t.Context()); !errors.Is(err, pipeline.ErrStopped) {
			t.Fatal(err)
		}
		last := s.calls[len(s.calls)-1].at.Sub(start)
		if last > 20500*time.Millisecond || len(j.results) != 1000*len(s.calls) {
			t.Errorf("last call after %s, %d calls, %d results", last, len(s.calls), len(j.results))
		}
		j.Stop = nil
		j.must(t)
		j.once(t)
	})
}

// TestCancelIsNoSuccess: whatever ends first because ctx does, Run says so.
func TestCancelIsNoSuccess(t *testing.T) {
	cause := errors.New("the cause")
	for _, after := range []time.Duration{0, time.Second, 5 * time.Second, 5500 * time.Millisecond} {
		for range 10 {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				j := newJob(20_000, &service{latency: time.Second})
				j.Rate = 3000
				if after == 0 {
					cancel(cause)
				}
				time.AfterFunc(after, func() { cancel(cause) })
				if err := j.run(ctx); !errors.Is(err, cause) {
					t.Errorf("cancelled after %s: %v", after, err)
				}
				j.must(t)
				j.once(t)
			})
		}
	}
}

func TestSinkErrorEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Second}
		j := newJob(100_000, s)
		j.failing = errTest
		if err := j.run(t.Context()); !errors.Is(err, errTest) {
			t.Fatal(err)
		}
		if len(s.calls) > 3+16 || len(j.results) > 0 {
			t.Errorf("%d calls, %d results", len(s.calls), len(j.results))
		}
		j.failing = nil
		j.must(t)
		j.once(t)
	})
}

func TestSourceErrorLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(20_000, &service{latency: time.Second})
		j.rows.size, j.rows.broken = 5000, 12_345
		if err := j.run(t.Context()); !errors.Is(err, errBrokenSource) {
			t.Fatal(err)
		}
		if j.done[3] || len(j.results) > 12_345 {
			t.Errorf("a segment that was not read is finished; %d results", len(j.results))
		}
		j.rows.broken = 0
		j.must(t)
		j.once(t)
	})
}

type panickySource struct{ *rows }

func (panickySource) Rows(context.Context, pipeline.Segment) iter.Seq2[pipeline.Row, error] {
	panic("the source")
}

type panickySink struct{ *process }

func (panickySink) Record(context.Context, []pipeline.Result) error { panic("the sink") }

// TestPanicsSurface and, with goleak, leave no goroutine behind.
func TestPanicsSurface(t *testing.T) {
	whole := func() pipeline.Job {
		return pipeline.Job{Source: numbered(50_000), Sink: newLedger().process(), Service: &service{}}
	}
	for name, change := range map[string]func(*pipeline.Job){
		"the source": func(j *pipeline.Job) { j.Source = panickySource{numbered(5)} },
		"the sink":   func(j *pipeline.Job) { j.Sink = panickySink{newLedger().process()} },
		"the service": func(j *pipeline.Job) {
			j.Service = &service{trouble: func(int, pipeline.Action, []string) error { panic("the service") }}
		},
		"the loop": func(j *pipeline.Job) { j.Service = &panickyLimit{} },
	} {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if p, ok := recover().(interface{ String() string }); !ok || !strings.Contains(p.String(), name) {
					t.Errorf("%s: %v surfaced", name, p)
				}
			}()
			j := whole()
			change(&j)
			t.Errorf("%s: Run returned %v", name, pipeline.Run(t.Context(), j, pipeline.Options{}))
		})
	}
}

type panickyLimit struct{ service }

func (*panickyLimit) Limit(pipeline.Action) int { panic("the loop") }

// TestHeldElsewhere: what is packed goes out while others hold the rest, and
// work goes on when they let go.
func TestHeldElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Second}
		j, start := newJob(300, s), time.Now()
		j.rows.size = 100
		j.last, j.theirs[2] = pipeline.Segment{Number: 3}, true
		time.AfterFunc(time.Minute, func() {
			j.ledger.mu.Lock()
			defer j.ledger.mu.Unlock()
			delete(j.theirs, 2)
		})
		j.must(t)
		j.once(t)
		if s.between(start, 0, 5*time.Second) != 1 || len(s.calls[0].tokens) != 200 {
			t.Errorf("batches of %v", s.sizes())
		}
		if took := time.Since(start); took < time.Minute || took > 65*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestLostLease: rows of a lost segment are neither sent nor counted, and the
// others of their batches are packed anew.
func TestLostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, meter := &service{latency: time.Second}, pipeline.NewMeter()
		j, start := newJob(6000, s), time.Now()
		j.rows.size, j.Rate, j.Meter = 1500, 1000, meter
		leases := map[int]*pipeline.Lease{}
		p := j.process()
		p.lease = func(n int) *pipeline.Lease {
			leases[n] = new(pipeline.Lease)
			leases[n].Extend(time.Now().Add(time.Hour))
			return leases[n]
		}
		time.AfterFunc(2500*time.Millisecond, func() { leases[3].Lose() })
		if err := j.runAs(t.Context(), p); !errors.Is(err, pipeline.ErrHeldElsewhere) {
			t.Fatalf("Run returned %v although segment 3 is not finished", err)
		}
		for _, c := range s.calls {
			if c.at.Sub(start) > 2500*time.Millisecond && has(c.tokens, "token-3500", "token-4400") {
				t.Error("a row of the lost segment was sent")
			}
		}
		if j.done[3] || !j.done[1] || !j.done[2] || !j.done[4] {
			t.Errorf("finished: %v", j.done)
		}
		if got := meter.Progress().Recorded.Rows(); got != int64(len(j.results)) || got != 4500 {
			t.Errorf("%d counted, %d recorded", got, len(j.results))
		}
	})
}

// TestLapsedLease: rows whose lease has run out wait for its renewal; those of
// other segments do not wait with them.
func TestLapsedLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(service)
		j, start := newJob(300, s), time.Now()
		j.rows.size = 100
		p := j.process()
		p.lease = func(n int) *pipeline.Lease {
			lease := new(pipeline.Lease)
			if n == 2 {
				time.AfterFunc(time.Minute, func() { lease.Extend(time.Now().Add(time.Hour)) })
			} else {
				lease.Extend(time.Now().Add(time.Hour))
			}
			return lease
		}
		if err := j.runAs(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		j.once(t)
		for _, c := range s.calls {
			if has(c.tokens, "token-150") && c.at.Sub(start) < time.Minute {
				t.Error("sent without a lease")
			}
		}
	})
}
