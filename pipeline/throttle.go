package pipeline

import (
	"math"
	"time"
)

const (
	calmPeriod = time.Second // between two steps up
	calmSteps  = 20          // steps from a standstill to the rate of the last cut
)

// Throttle is how far the service has brought a rate down. It is a value, so that
// processes can share one through a database; its times are of one clock.
//
// A cut halves the rate (without a ceiling, what was granted in the last second),
// once for all calls that were in flight, and holds every worker for as long as
// the service asked. Each second of calm gives a twentieth of the rate before the
// cut back, or of the present rate if that is more, up to the ceiling.
type Throttle struct {
	Rate    float64   // token operations per second; +Inf: none
	Step    float64   // what a second of calm gives back
	Changed time.Time // the last cut or step
	Cut     time.Time // the last cut
	Hold    time.Time // nothing goes before
}

// Met notes at the time now that a call granted then met a quota, and how long
// the service asked to wait. pace is what was granted in the last second, least
// the rate below which no cut goes.
func (t *Throttle) Met(now, granted time.Time, after time.Duration, pace, least float64) {
	if hold := now.Add(after); after > 0 && hold.After(t.Hold) {
		t.Hold = hold
	}
	if !granted.After(t.Cut) {
		return
	}
	before := t.Rate
	if math.IsInf(before, 1) {
		before = pace
	}
	t.Step, t.Cut, t.Changed = before/calmSteps, now, now
	t.Rate = max(before/2, least)
}

// Calm notes at the time now that a call granted then met no quota. At a low rate
// such calls are rare, so each counts for all the time since the last step; but
// none more than doubles the rate. It reports whether the rate was raised.
func (t *Throttle) Calm(now, granted time.Time, ceiling float64) bool {
	calm := min(now.Sub(t.Changed), now.Sub(t.Hold))
	if t.Rate >= ceiling || !granted.After(t.Cut) || calm < calmPeriod {
		return false
	}
	gain := max(t.Step, t.Rate/calmSteps) * calm.Seconds()
	t.Rate, t.Changed = min(t.Rate+min(gain, t.Rate), ceiling), now
	return true
}
