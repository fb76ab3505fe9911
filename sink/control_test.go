package sink

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink/budget"
)

// steered opens a job and its budget without a ceiling, and lets the test decide
// when the job's row is looked at besides.
func steered(t *testing.T, db *pgxpool.Pool) *Steering {
	t.Helper()
	own := pipeline.NewLimiter(0)
	b, err := budget.Open(t.Context(), db, "p", own, time.Second)
	must(t, err)
	s, err := Steer(t.Context(), newPostgres(t, db, "job"), b, own, 0)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

func toldJob(t *testing.T, open bool, err error) {
	t.Helper()
	if must(t, err); !open {
		t.Error("the job does not take a word")
	}
}

func TestPauseIsSeen(t *testing.T) {
	db := pgtest.New(t)
	s := steered(t, db)
	if s.Paused() {
		t.Error("paused before anybody said so")
	}
	paused, err := Pause(t.Context(), db, s.job.job)
	toldJob(t, paused, err)
	must(t, s.look(t.Context()))
	if !s.Paused() {
		t.Error("the pause is not seen")
	}
	later := steered(t, db)
	if !later.Paused() {
		t.Error("a process that comes later does not know of the pause")
	}
	continued, err := Continue(t.Context(), db, s.job.job)
	toldJob(t, continued, err)
	must(t, s.look(t.Context()))
	if s.Paused() {
		t.Error("paused after the pause")
	}
	_, err = s.Wait(t.Context(), 1)
	must(t, err)
}

// ashore is a steering without a database.
func ashore(perSecond float64) *Steering {
	s := &Steering{Budget: pipeline.NewLimiter(perSecond), job: new(Postgres), free: make(chan struct{})}
	close(s.free)
	return s
}

// calling begins a call, and tells whether it has gone once nothing more can happen.
func calling(t *testing.T, s *Steering) (gone func() bool) {
	went := make(chan error, 1)
	go func() {
		_, err := s.Wait(t.Context(), 1)
		went <- err
	}()
	return func() bool {
		synctest.Wait()
		select {
		case err := <-went:
			must(t, err)
			return true
		default:
			return false
		}
	}
}

func TestPauseHoldsCallsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ashore(0)
		if !calling(t, s)() {
			t.Error("held up before the pause")
		}
		s.heed(StateOpen, true)
		gone := calling(t, s)
		if gone() {
			t.Error("a call goes in a pause")
		}
		s.heed(StateOpen, false)
		if !gone() {
			t.Error("held up after the pause")
		}
	})
}

// A call that waits for the rate when the pause comes does not go in it.
func TestPauseComesUponAWaitingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ashore(1)
		if !calling(t, s)() {
			t.Fatal("the first call does not go")
		}
		gone := calling(t, s)
		if gone() {
			t.Fatal("a call goes before its time")
		}
		s.heed(StateOpen, true)
		time.Sleep(time.Minute)
		if gone() {
			t.Error("a call goes in a pause")
		}
		s.heed(StateOpen, false)
		if !gone() {
			t.Error("held up after the pause")
		}
	})
}

func TestCancelledJobIsClosed(t *testing.T) {
	db := pgtest.New(t)
	s := steered(t, db)
	cancelled, err := Cancel(t.Context(), db, s.job.job)
	toldJob(t, cancelled, err)
	<-s.Stop()
	var shut *ClosedError
	if !errors.As(s.Err(), &shut) || shut.State != StateCancelled {
		t.Errorf("steering: %v", s.Err())
	}
	if err := s.job.Complete(t.Context()); !errors.As(err, &shut) {
		t.Errorf("complete: %v", err)
	}
	if _, err := OpenPostgres(t.Context(), db, "job", asked, time.Second); !errors.As(err, &shut) {
		t.Errorf("open: %v", err)
	}
	if paused, err := Pause(t.Context(), db, s.job.job); paused || err != nil {
		t.Errorf("a cancelled job is paused: %v, %v", paused, err)
	}
	continued, err := Continue(t.Context(), db, s.job.job)
	toldJob(t, continued, err)
	p := newPostgres(t, db, "job")
	work(t, p, 1, nil)
	must(t, p.Complete(t.Context()))
	if cancelled, err := Cancel(t.Context(), db, p.job); cancelled || err != nil {
		t.Errorf("a finished job is cancelled: %v, %v", cancelled, err)
	}
}

// A series goes on behind a cancelled job, as behind a finished one.
func TestSeriesLeavesACancelledJobBehind(t *testing.T) {
	db := pgtest.New(t)
	first := newPostgres(t, db, "")
	cancelled, err := Cancel(t.Context(), db, first.job)
	toldJob(t, cancelled, err)
	if second := newPostgres(t, db, ""); second.job.Name != asked.series()+"-2" {
		t.Errorf("the next job is %s", second.job.Name)
	}
}

func TestRateOfAJob(t *testing.T) {
	db := pgtest.New(t)
	s, rate := steered(t, db), 100.0
	for _, test := range []struct {
		set  *float64
		want float64
	}{{&rate, 100}, {nil, math.Inf(1)}} {
		must(t, SetRate(t.Context(), db, s.job.job, test.set))
		must(t, s.look(t.Context()))
		if got := s.own.Ceiling(); got != test.want {
			t.Errorf("rate %v, want %v", got, test.want)
		}
	}
}
