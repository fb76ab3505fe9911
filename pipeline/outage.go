package pipeline

import "time"

// outage is the pipeline's idea of whether the service answers at all. While
// every call fails it lets one call through at a time, at growing distances:
// enough to see the service come back, too little to keep it down.
type outage struct {
	patience time.Duration // how long an outage is sat out
	answered bool          // the service has judged a token in this run
	last     time.Time     // when it did so last
	since    time.Time     // the first failure after that; zero while all is well
	failures int           // failures in a row, over all batches
	until    time.Time     // no call before
}

func (o *outage) succeeded(now time.Time) {
	o.answered, o.last = true, now
	o.since, o.failures, o.until = time.Time{}, 0, time.Time{}
}

// failed notes a call that brought no verdict. A service that refuses a batch is
// there; and quota is the limiter's to see to.
func (o *outage) failed(now time.Time, kind CallKind, concurrency int, chance float64) {
	if kind == Refused {
		o.since = time.Time{}
	} else if o.since.IsZero() {
		o.since = now
	}
	if kind != Unavailable {
		return
	}
	o.failures++
	if beyond := o.failures - concurrency; beyond > 0 {
		o.until = now.Add(backoff(beyond, chance))
	}
}

// total reports whether as many calls in a row have failed as there are workers.
func (o *outage) total(concurrency int) bool { return o.failures > concurrency }

// hopeless reports whether to give up: a service that has judged something is
// waited for with patience, one that never has for as many attempts as a batch
// has.
func (o *outage) hopeless(now time.Time, b *batch, attempts int) bool {
	if !o.answered && b.failures >= attempts {
		return true
	}
	return !o.since.IsZero() && now.Sub(o.since) >= o.patience
}
