package pipeline

import (
	"math"
	"time"
)

const (
	calmPeriod = time.Second // between two steps up
	comeBack   = 3 * time.Second
	comfort    = 0.93        // of the rate that met the quota: most of it, and it lasts
	curiosity  = time.Minute // until more than that rate is tried
	boldness   = 0.15        // how much more, at first
	unused     = 4           // times what was granted: a rate that says nothing of the quota
)

// Throttle is how far the service has brought a rate down. It is a value, so that
// processes can share one through a database; its times are of one clock.
//
// A cut halves the rate, once for all calls that were in flight, and holds every
// worker for as long as the service asked. What follows takes the rate before the cut
// for an estimate of the quota, as CUBIC does in TCP (RFC 9438): calm soon brings most
// of it back, stays there for a minute to meet the quota seldom, and then tries more
// and more, up to the ceiling, since a quota may have grown.
type Throttle struct {
	Rate    float64   // token operations per second; +Inf: none
	Before  float64   // the rate before the last cut
	Changed time.Time // the last cut or step
	Cut     time.Time // the last cut
	Hold    time.Time // nothing goes before
}

// Met notes at the time now that a call granted then met a quota, and how long
// the service asked to wait. pace is what was granted in the last second, and stands for
// a rate that was far from used up; least the rate below which no cut goes.
func (t *Throttle) Met(now, granted time.Time, after time.Duration, pace, least float64) {
	if hold := now.Add(after); after > 0 && hold.After(t.Hold) {
		t.Hold = hold
	}
	if !granted.After(t.Cut) {
		return
	}
	if t.Rate > unused*pace {
		t.Rate = pace
	}
	t.Before, t.Cut, t.Changed = t.Rate, now, now
	t.Rate = max(t.Rate/2, least)
}

// Calm notes at the time now that a call granted then met no quota. At a low rate
// such calls are rare, so each counts for all the time since the cut; but none more
// than doubles the rate. It reports whether the rate was raised.
func (t *Throttle) Calm(now, granted time.Time, ceiling float64) bool {
	if t.Rate >= ceiling || !granted.After(t.Cut) || min(now.Sub(t.Changed), now.Sub(t.Hold)) < calmPeriod {
		return false
	}
	next := min(t.after(min(now.Sub(t.Cut), now.Sub(t.Hold))), 2*t.Rate, ceiling)
	if next <= t.Rate {
		return false
	}
	t.Rate, t.Changed = next, now
	return true
}

// after is the rate that so much calm leads to.
func (t *Throttle) after(calm time.Duration) float64 {
	goal := comfort * t.Before
	if calm < comeBack {
		low := t.Before / 2
		return low + (goal-low)*calm.Seconds()/comeBack.Seconds()
	}
	return goal * math.Exp(boldness*math.Pow((calm-comeBack).Seconds()/curiosity.Seconds(), 3))
}
