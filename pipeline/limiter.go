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
// A cut halves the rate, once for all calls that were in flight, and holds every
// worker for as long as the service asked. Each second of calm gives a twentieth
// of the rate before the cut back, up to the ceiling.
type Limiter struct {
	bucket *rate.Limiter
	burst  int

	mu      sync.Mutex
	ceiling float64 // token operations per second; +Inf: none
	current float64
	step    float64
	changed time.Time // the last cut or step
	cut     time.Time // the last cut
	hold    time.Time // nothing goes before
	pace    pace
}

// NewLimiter returns a limiter of perSecond token operations, 0 meaning no
// ceiling, that grants up to burst of them at once: the largest batch.
func NewLimiter(perSecond float64, burst int) *Limiter {
	if perSecond <= 0 {
		perSecond = math.Inf(1)
	}
	return &Limiter{
		bucket:  rate.NewLimiter(limit(perSecond), burst),
		burst:   burst,
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

// Wait blocks until n token operations, at most the burst, may be sent, or ctx
// ends.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	for {
		if err := sleep(ctx, l.held()); err != nil {
			return err
		}
		if err := l.bucket.WaitN(ctx, n); err != nil {
			return err
		}
		if l.grant(n) {
			return nil
		}
	}
}

// grant reports whether the bucket's word still stands: a hold may have come
// while we waited for it.
func (l *Limiter) grant(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.hold) {
		return false
	}
	l.pace.add(now, n)
	return true
}

func (l *Limiter) held() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.hold)
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
	if sent.Before(l.cut) {
		return
	}
	before := min(l.current, max(l.pace.rate(now), float64(l.burst)))
	l.step = before / calmSteps
	l.cut = now
	l.set(now, max(before/2, float64(l.burst)/backoffMost.Seconds()))
}

// Calm tells the limiter that a call met no quota.
func (l *Limiter) Calm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.current < l.ceiling && now.Sub(l.changed) >= calmPeriod && !now.Before(l.hold) {
		l.set(now, min(l.current+l.step, l.ceiling))
	}
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
