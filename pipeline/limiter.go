package pipeline

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter is the budget of one process: it grants token operations at no more
// than a ceiling, and at less while the service says that it is too much
// ([Throttle]). It is safe for concurrent use.
type Limiter struct {
	turn chan struct{} // in the hands of the one that waits for the bucket; the others queue for it

	mu       sync.Mutex
	bucket   *rate.Limiter
	largest  int     // the most operations asked for at once
	last     int     // the operations asked for last
	ceiling  float64 // token operations per second; +Inf: none
	throttle Throttle
	pace     Pace
}

var _ Budget = (*Limiter)(nil)

// NewLimiter returns a limiter of perSecond token operations, 0 meaning no
// ceiling.
func NewLimiter(perSecond float64) *Limiter {
	ceiling := ceilingOf(perSecond)
	return &Limiter{
		turn:     make(chan struct{}, 1),
		bucket:   rate.NewLimiter(limit(ceiling), largestBatch),
		ceiling:  ceiling,
		throttle: Throttle{Rate: ceiling},
	}
}

func ceilingOf(perSecond float64) float64 {
	if perSecond <= 0 {
		return math.Inf(1)
	}
	return perSecond
}

// SetRate sets another ceiling, 0 meaning none. It holds at once, also for those that
// wait; what the service has brought the rate down to is raised step by step, as
// ever.
func (l *Limiter) SetRate(perSecond float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ceiling := ceilingOf(perSecond)
	if ceiling == l.ceiling {
		return
	}
	if l.throttle.Rate >= min(l.ceiling, ceiling) {
		l.throttle.Rate = ceiling
	}
	l.ceiling = ceiling
	l.bucket.SetLimitAt(time.Now(), limit(l.throttle.Rate))
}

func limit(perSecond float64) rate.Limit {
	if math.IsInf(perSecond, 1) {
		return rate.Inf
	}
	return rate.Limit(perSecond)
}

// Wait blocks until n token operations may be sent at once, or ctx ends. Those
// that wait are served in the order in which they came. Nothing is promised to
// one that waits, so that a cut holds for it too.
func (l *Limiter) Wait(ctx context.Context, n int) (Grant, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return Grant{}, ctx.Err()
	}
	for wait := time.Duration(0); ; {
		if err := sleep(ctx, wait); err != nil {
			return Grant{}, err
		}
		now := time.Now()
		if wait = l.grant(now, n); wait == 0 {
			return Grant{At: now, Rate: l.Rate()}, nil
		}
	}
}

// grant takes n operations, or says when to ask again: after a second at the
// latest, for the rate may have been raised. The bucket holds no more than what
// is asked for, so that small batches save nothing up for a burst but [Slack].
func (l *Limiter) grant(now time.Time, n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.largest = max(l.largest, n)
	if now.Before(l.throttle.Hold) {
		return l.throttle.Hold.Sub(now)
	}
	inflow := l.tune(now, n)
	if l.bucket.AllowN(now, n) {
		l.pace.Add(now, n)
		return 0
	}
	missing := (float64(n) - l.bucket.TokensAt(now)) / inflow
	return time.Duration(min(max(missing, 1e-6), 1) * float64(time.Second))
}

// tune sets the bucket to calls of n operations at the present rate, and returns the inflow
// at which it fills. Whenever either changes it is tuned, for what flowed into it until
// then is reckoned at the old one.
func (l *Limiter) tune(now time.Time, n int) (inflow float64) {
	inflow, l.last = l.throttle.Rate, n
	if math.IsInf(inflow, 1) {
		return inflow // rate.Limiter reckons nothing of infinity in no time as NaN
	}
	burst := n
	if Small(n, inflow) {
		inflow /= 1 + Slack.Seconds()
		burst += int(min(inflow*Slack.Seconds(), largestBatch)) // without a ceiling the rate grows beyond all numbers
	}
	l.bucket.SetLimitAt(now, limit(inflow))
	l.bucket.SetBurstAt(now, burst)
	return inflow
}

// Answered slows down, or steps up again. After a cut a call waits as if one had just gone: the
// service has nothing left for it.
func (l *Limiter) Answered(_ context.Context, g Grant, q Quota) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, cut := time.Now(), l.throttle.Cut
	if q.Met {
		largest := float64(l.largest)
		l.throttle.Met(now, g.At, q.After, max(l.pace.Rate(now), largest), largest/backoffMost.Seconds())
	} else if !l.throttle.Calm(now, g.At, l.ceiling) {
		return nil
	}
	l.tune(now, l.last)
	if left := int(l.bucket.TokensAt(now)); left > 0 && l.throttle.Cut.After(cut) {
		l.bucket.AllowN(now, left)
	}
	return nil
}

// Ceiling is the rate that the user allows; +Inf without a ceiling.
func (l *Limiter) Ceiling() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ceiling
}

// Rate is the rate that is granted now; +Inf without a ceiling.
func (l *Limiter) Rate() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.throttle.Rate
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
