package pipeline

import "time"

// outage is the pipeline's idea of whether the service answers at all. While
// every call fails it lets one call through at a time, at growing distances:
// enough to see the service come back, too little to keep it down.
type outage struct {
	patience time.Duration // how long an outage is sat out
	answered bool          // the service has given a sign of life in this job
	last     time.Time     // when it did so last
	since    time.Time     // the first failure after that, but for waits; zero while all is well
	code     string        // the service's own word then
	alike    bool          // the service has answered each call since with that word
	failure  time.Time     // the last one
	silence  int           // failures in a row, over all batches; see answeredWeight
	until    time.Time     // no call before
}

func (o *outage) succeeded(now time.Time) {
	o.answered, o.last = true, now
	o.present()
}

func (o *outage) present() { o.since, o.silence, o.until = time.Time{}, 0, time.Time{} }

// longWait is a wait for the budget that is no part of an outage: a pause, or a low
// rate.
const longWait = 5 * time.Second

// idled notes how long a call that has failed had waited for the budget until it was sent. While other calls failed, that
// was part of the outage: with many callers each waits for long, and yet there is always one that tells something.
func (o *outage) idled(sent time.Time, waited time.Duration) {
	if silent := min(waited, sent.Sub(o.failure)); !o.since.IsZero() && silent > longWait {
		o.since = o.since.Add(silent)
	}
}

// answeredWeight is how many failures of the service itself weigh as much as one call
// that did not come through: they may be the fault of a few tokens, which are found by
// many such calls.
const answeredWeight = 20

// failed notes a call that brought no verdict. A service that refuses a batch is
// there; and quota is the limiter's to see to.
func (o *outage) failed(now time.Time, said *CallError, concurrency int, chance float64) {
	o.failure = now
	if said.Kind == Refused {
		o.present()
		return
	}
	if o.since.IsZero() {
		o.since, o.code, o.alike = now, said.Code, true
	}
	o.alike = o.alike && said.Answered && said.Code == o.code
	if said.Kind != Unavailable {
		return
	}
	o.answered = o.answered || said.Answered
	if now.Before(o.until) {
		return // it went before this wait began, and says nothing new
	}
	if o.silence++; !said.Answered {
		o.silence += answeredWeight - 1
	}
	if beyond := o.silence/answeredWeight - concurrency; beyond > 0 {
		o.until = now.Add(backoff(beyond, chance))
	}
}

// total reports whether more calls in a row have failed than there are workers.
func (o *outage) total(concurrency int) bool { return o.silence/answeredWeight > concurrency }

// blames reports whether a batch that has had all its attempts is at fault: the
// service judged others since it began to fail.
func (o *outage) blames(b *batch) bool { return o.last.After(b.failing) }

// over reports whether patience is at its end.
func (o *outage) over(now time.Time) bool {
	return !o.since.IsZero() && now.Sub(o.since) >= o.patience
}

// troubling is how long an outage lasts before anybody is told of it.
const troubling = 5 * time.Second

// lasts reports whether no call has brought a verdict for so long that a person wants to know.
func (o *outage) lasts(now time.Time) bool { return !o.since.IsZero() && now.Sub(o.since) >= troubling }

// vain reports whether a batch has had all its attempts at a service that never gave
// a sign of life in this job: it is waited for with less patience.
func (o *outage) vain(b *batch, attempts int) bool { return !o.answered && b.tried() >= attempts }
