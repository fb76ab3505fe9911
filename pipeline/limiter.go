package pipeline

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	calmPeriod = time.Second // between two steps up
	calmSteps  = 20          // steps from a standstill to the rate of the last cut
)

// Limiter grants token operations at no more than a ceiling, and at less while
// the service says that it is too much. It is safe for concurrent use.
//
// A cut halves the rate (without a ceiling, what was granted in the last second),
// once for all calls that were in flight, and holds every worker for as long as
// the service asked. Each second of calm gives a twentieth of the rate before the
// cut back, or of the present rate if that is more, up to the ceiling.
type Limiter struct {
	turn chan struct{} // in the hands of the one that waits for the bucket; the others queue for it

	mu      sync.Mutex
	bucket  *rate.Limiter
	largest int     // the most operations asked for at once
	ceiling float64 // token operations per second; +Inf: none
	current float64
	step    float64
	changed time.Time // the last cut or step
	cut     time.Time // the last cut
	hold    time.Time // nothing goes before
	pace    pace
}

// NewLimiter returns a limiter of perSecond token operations, 0 meaning no
// ceiling.
func NewLimiter(perSecond float64) *Limiter {
	if perSecond <= 0 {
		perSecond = math.Inf(1)
	}
	return &Limiter{
		turn:    make(chan struct{}, 1),
		bucket:  rate.NewLimiter(limit(perSecond), largestBatch),
		ceiling: perSecond,
		current: perSecond,
	}
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
func (l *Limiter) Wait(ctx context.Context, n int) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for wait := time.Duration(0); ; {
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		if wait = l.grant(time.Now(), n); wait == 0 {
			return nil
		}
	}
}

// grant takes n operations, or says when to ask again: after a second at the
// latest, for the rate may have been raised. The bucket holds no more than what
// is asked for, so that small batches save nothing up for a burst.
func (l *Limiter) grant(now time.Time, n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.largest = max(l.largest, n)
	if now.Before(l.hold) {
		return l.hold.Sub(now)
	}
	l.bucket.SetBurstAt(now, n)
	if l.bucket.AllowN(now, n) {
		l.pace.add(now, n)
		return 0
	}
	missing := (float64(n) - l.bucket.TokensAt(now)) / l.current
	return time.Duration(min(max(missing, 1e-6), 1) * float64(time.Second))
}

// Throttled tells the limiter that a call sent at the given time met a quota,
// and how long the service asked to wait.
func (l *Limiter) Throttled(sent time.Time, after time.Duration, chance float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if hold := now.Add(respect(after, chance)); after > 0 && hold.After(l.hold) {
		l.hold = hold
	}
	if !sent.After(l.cut) {
		return
	}
	before := l.current
	if math.IsInf(before, 1) {
		before = max(l.pace.rate(now), float64(l.largest))
	}
	l.step = before / calmSteps
	l.cut = now
	l.set(now, max(before/2, float64(l.largest)/backoffMost.Seconds()))
}

// Calm tells the limiter that a call sent at the given time met no quota. At a
// low rate such calls are rare, so each counts for all the time since the last
// step; but none more than doubles the rate.
func (l *Limiter) Calm(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	calm := min(now.Sub(l.changed), now.Sub(l.hold))
	if l.current >= l.ceiling || !sent.After(l.cut) || calm < calmPeriod {
		return
	}
	gain := max(l.step, l.current/calmSteps) * calm.Seconds()
	l.set(now, min(l.current+min(gain, l.current), l.ceiling))
}

func (l *Limiter) set(now time.Time, perSecond float64) {
	l.current, l.changed = perSecond, now
	l.bucket.SetLimitAt(now, limit(perSecond))
}

// Rate is the rate that is granted now; +Inf without a ceiling.
func (l *Limiter) Rate() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// pace measures what was granted over the last one to two seconds.
type pace struct {
	began   time.Time
	granted int // since began
	before  int // in the second before that
}

func (p *pace) add(now time.Time, n int) {
	p.turn(now)
	p.granted += n
}

func (p *pace) rate(now time.Time) float64 {
	p.turn(now)
	return max(float64(p.before), float64(p.granted))
}

func (p *pace) turn(now time.Time) {
	switch past := now.Sub(p.began); {
	case past < time.Second:
		return
	case past < 2*time.Second:
		p.before = p.granted
	default:
		p.before = 0
	}
	p.began, p.granted = now, 0
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
