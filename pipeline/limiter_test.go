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
	g, err := l.Wait(t.Context(), n)
	if err != nil || g.At != time.Now() {
		t.Fatal(g, err)
	}
	return g.At
}

func throttled(l *pipeline.Limiter, granted time.Time, after time.Duration) {
	_ = l.Answered(context.Background(), pipeline.Grant{At: granted}, pipeline.Quota{Met: true, After: after})
}

func calm(l *pipeline.Limiter, granted time.Time) {
	_ = l.Answered(context.Background(), pipeline.Grant{At: granted}, pipeline.Quota{})
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
	for _, rate := range []float64{10, 3000} {
		synctest.Test(t, func(t *testing.T) {
			l := pipeline.NewLimiter(rate)
			wait(t, l, 1)
			time.Sleep(time.Minute)
			sent, start := 0, time.Now()
			for ; wait(t, l, 1).Sub(start) <= time.Second; sent++ {
			}
			if sent > int(rate)+1 {
				t.Errorf("%d operations in a second at a rate of %v", sent, rate)
			}
		})
	}
}

// TestSmallBatchesMayBeLate: whoever looks at the clock every few milliseconds only
// still gets the rate.
func TestSmallBatchesMayBeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start, sent := pipeline.NewLimiter(3000), time.Now(), 0
		for time.Since(start) < 10*time.Second {
			time.Sleep(8 * time.Millisecond)
			for now := time.Now(); wait(t, l, 1).Equal(now); sent++ {
			}
			sent++
		}
		if sent < 29_500 || sent > 30_001 {
			t.Errorf("%d operations in ten seconds at a rate of 3000", sent)
		}
	})
}

// TestCutFromNoCeiling: a rate without a ceiling is limited from its first cut on.
func TestCutFromNoCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipeline.NewLimiter(0)
		for range 4 {
			wait(t, l, 1000)
		}
		throttled(l, wait(t, l, 1000), 0)
		start, sent := time.Now(), 0
		for wait(t, l, 1000).Sub(start) <= time.Second {
			sent += 1000
		}
		if rate := l.Rate(); rate != 2500 || sent != 2000 {
			t.Errorf("%d operations in a second at a rate of %v", sent, rate)
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
		throttled(l, first, 0)
		throttled(l, second, 0)
		time.Sleep(time.Second)
		throttled(l, second, 0)
		if got := l.Rate(); got != 1500 {
			t.Fatalf("rate %v after one cut", got)
		}
		throttled(l, wait(t, l, 1000), 0)
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
		throttled(l, start, 0)
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
		throttled(l, start, 7*time.Second)
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
		throttled(l, sent, 0)
		low := l.Rate()
		time.Sleep(2 * time.Second)
		calm(l, sent)
		if got := l.Rate(); got != low {
			t.Errorf("a call from before the cut raised the rate to %v", got)
		}
		for i := range 75 {
			time.Sleep(time.Second)
			calm(l, time.Now())
			calm(l, time.Now())
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
			throttled(l, wait(t, l, 1000), 0)
			time.Sleep(time.Millisecond)
		}
		if got := math.Round(l.Rate()); got != 17 {
			t.Fatalf("floor at %v", got)
		}
		start := time.Now()
		for l.Rate() < 3000 {
			calm(l, wait(t, l, 1000))
		}
		if took := time.Since(start); took > 5*time.Minute {
			t.Errorf("back at the ceiling after %s", took)
		}
	})
}

// TestAnotherCeiling: it holds for a call that waits, and for those that come.
func TestAnotherCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := pipeline.NewLimiter(1), time.Now()
		wait(t, l, 1000)
		went := make(chan struct{})
		go func() {
			defer close(went)
			wait(t, l, 1000)
		}()
		synctest.Wait()
		l.SetRate(1000)
		if <-went; time.Since(start) < 900*time.Millisecond || time.Since(start) > 2*time.Second {
			t.Errorf("the call that waited went after %v", time.Since(start))
		}
		l.SetRate(0)
		wait(t, l, 1000)
		wait(t, l, 1000)
		l.SetRate(10)
		wait(t, l, 1)
		start = time.Now()
		for range 10 {
			wait(t, l, 1)
		}
		if took := time.Since(start); took < 990*time.Millisecond || took > 1010*time.Millisecond {
			t.Errorf("10 operations at a rate of 10 take %v", took)
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
			go func() {
				_, err := l.Wait(ctx, 1000)
				ends <- err
			}()
		}
		for range 2 {
			if err := <-ends; err == nil {
				t.Error("went although its context had ended")
			}
		}
		cancel()
		if _, err := l.Wait(ctx, 0); err == nil {
			t.Error("went with a context that had ended before")
		}
	})
}
