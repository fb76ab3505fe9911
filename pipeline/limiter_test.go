package pipeline_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

func wait(t *testing.T, l *pipeline.Limiter, n int) time.Time {
	t.Helper()
	if err := l.Wait(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return time.Now()
}

func TestLimiterGivesTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := pipeline.NewLimiter(3000), time.Now()
		for range 31 {
			wait(t, l, 1000)
		}
		if took := time.Since(start).Round(time.Millisecond); took != 10*time.Second {
			t.Errorf("31 batches took %s", took)
		}
	})
}

// TestSmallBatchesSaveNoBurst: P5 counts one batch, not a thousand tokens.
func TestSmallBatchesSaveNoBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipeline.NewLimiter(10)
		wait(t, l, 1)
		time.Sleep(time.Minute)
		sent := 0
		for start := time.Now(); time.Since(start) < time.Second; sent++ {
			wait(t, l, 1)
		}
		if sent > 11 {
			t.Errorf("%d operations in a second at a rate of 10", sent)
		}
	})
}

func TestOneCutForAllInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipeline.NewLimiter(3000)
		for range 6 {
			wait(t, l, 1000)
		}
		first := wait(t, l, 1000)
		second := wait(t, l, 1000)
		l.Throttled(first, 0, 0)
		l.Throttled(second, 0, 0)
		time.Sleep(time.Second)
		l.Throttled(second, 0, 0)
		if got := l.Rate(); got != 1500 {
			t.Fatalf("rate %v after one cut", got)
		}
		l.Throttled(wait(t, l, 1000), 0, 0)
		if got := l.Rate(); got != 750 {
			t.Fatalf("rate %v after another", got)
		}
	})
}

// TestCutHoldsForThoseThatWait: a call that waited during the cut does not go at
// the old pace, to be turned away and cause another cut.
func TestCutHoldsForThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ends := pipeline.NewLimiter(1000), make(chan time.Time)
		start := wait(t, l, 1000)
		for range 3 {
			go func() { ends <- wait(t, l, 1000) }()
		}
		synctest.Wait()
		l.Throttled(start, 0, 0)
		for i := range 3 {
			if took := (<-ends).Sub(start).Round(time.Millisecond); took != time.Duration(2*(i+1))*time.Second {
				t.Errorf("batch %d went after %s", i, took)
			}
		}
	})
}

func TestHoldForRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipeline.NewLimiter(0)
		start, ends := wait(t, l, 1000), make(chan time.Time)
		l.Throttled(start, 7*time.Second, 0)
		for range 4 {
			go func() { ends <- wait(t, l, 1) }()
		}
		for range 4 {
			if took := (<-ends).Sub(start); took < 7*time.Second || took > 8*time.Second {
				t.Errorf("went after %s", took)
			}
		}
	})
}

func TestCalmRaisesStepByStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipeline.NewLimiter(3000)
		sent := wait(t, l, 1000)
		l.Throttled(sent, 0, 0)
		low := l.Rate()
		time.Sleep(2 * time.Second)
		l.Calm(sent)
		if got := l.Rate(); got != low {
			t.Errorf("a call from before the cut raised the rate to %v", got)
		}
		for i := range 40 {
			time.Sleep(time.Second)
			l.Calm(time.Now())
			l.Calm(time.Now())
			if got := l.Rate(); got > 3000 || i == 0 && got > 2*low {
				t.Fatalf("rate %v after %d seconds of calm", got, i+1)
			}
		}
		if got := l.Rate(); got != 3000 {
			t.Errorf("rate %v after a long calm", got)
		}
	})
}

// TestRateComesBackFromTheFloor: at the floor a batch goes once a minute, and
// still it must not take an hour to come back.
func TestRateComesBackFromTheFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipeline.NewLimiter(3000)
		for range 30 {
			l.Throttled(wait(t, l, 1000), 0, 0)
			time.Sleep(time.Millisecond)
		}
		if got := math.Round(l.Rate()); got != 17 {
			t.Fatalf("floor at %v", got)
		}
		start := time.Now()
		for l.Rate() < 3000 {
			l.Calm(wait(t, l, 1000))
		}
		if took := time.Since(start); took > 5*time.Minute {
			t.Errorf("back at the ceiling after %s", took)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipeline.NewLimiter(1)
		wait(t, l, 1000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ends := make(chan error)
		for range 2 {
			go func() { ends <- l.Wait(ctx, 1000) }()
		}
		for range 2 {
			if err := <-ends; err == nil {
				t.Error("went although its context had ended")
			}
		}
		cancel()
		if l.Wait(ctx, 0) == nil {
			t.Error("went with a context that had ended before")
		}
	})
}
