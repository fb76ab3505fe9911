package pipeline

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// handle sees to what a worker brought back.
func (r *run) handle(rep reply) {
	r.setAside(rep.unsent)
	if rep.stop != nil {
		r.end(rep.stop)
	}
	switch {
	case rep.batch == nil:
	case rep.err != nil:
		r.failed(rep)
	default:
		r.judge(rep)
	}
}

// setAside takes back rows whose lease is not held. Those of a segment that is
// lost are somebody else's now; the others wait for the renewal.
func (r *run) setAside(unsent []*item) {
	var lapsed []*item
	for _, it := range unsent {
		if it.claim.Lease.Lost() {
			r.lose()
			r.drop(it)
		} else {
			lapsed = append(lapsed, it)
		}
	}
	if len(lapsed) > 0 {
		r.waiting.add(delayed{due: time.Now().Add(heldPoll), items: lapsed})
	}
}

// longWait is a wait for the budget that is no part of an outage: a pause, or a low
// rate.
const longWait = 5 * time.Second

// failed sees to a call that brought no verdicts.
func (r *run) failed(rep reply) {
	now, b, said := time.Now(), rep.batch, callError(rep.err)
	if rep.waited > longWait && !r.outage.since.IsZero() {
		r.outage.idled(now, rep.waited)
	}
	after := respect(said.After, r.opts.Patience, chance())
	r.outage.failed(now, said, r.opts.Concurrency, chance())
	switch said.Kind {
	case Fatal:
		r.end(rep.err)
	case Refused:
		r.bisect(b, said)
	case Throttled:
		r.repeat(b, max(backoff(1, chance()), after))
	case Unavailable:
		if b.failures++; b.failing.IsZero() {
			b.failing = now
		}
		if b.tried() >= r.opts.Attempts && r.divisible(b, said) {
			r.divide(b, said)
			break
		}
		r.repeat(b, max(backoff(b.failures, chance()), after))
	}
	if said.Kind != Fatal && (r.outage.over(now) || r.inFlight == 0 && r.outage.vain(b, r.opts.Attempts)) {
		r.end(&UnavailableError{Err: rep.err})
	}
}

// divisible reports whether a batch that has had all its attempts is to be divided: in
// an outage that costs a few calls, and often it is the only way to tell the two
// apart. A token alone is at fault if others were judged meanwhile; and where
// nothing is left to tell, if the service itself failed on it.
func (r *run) divisible(b *batch, said *CallError) bool {
	switch {
	case len(b.tokens) > 1:
		return r.outage.answered
	case r.outage.blames(b):
		return true
	default:
		return said.Answered && r.noneToTell()
	}
}

// noneToTell reports whether nothing is left to send but tokens that have had all
// their attempts, each alone.
func (r *run) noneToTell() bool {
	if r.inFlight > 0 || r.fed() || r.batcher.rows > 0 || r.batcher.next() != nil {
		return false
	}
	return !slices.ContainsFunc(r.waiting, func(d delayed) bool {
		return d.batch == nil || len(d.batch.tokens) > 1 || d.batch.tried() < r.opts.Attempts
	})
}

func (r *run) repeat(b *batch, wait time.Duration) {
	r.opts.Meter.retries.Add(int64(len(b.places)))
	r.waiting.add(delayed{due: time.Now().Add(wait), batch: b})
}

// bisect looks for the token for which the service refuses the batch. Alone, the
// token is at fault.
func (r *run) bisect(b *batch, said *CallError) {
	if len(b.tokens) > 1 {
		r.divide(b, said)
		return
	}
	r.weigh(b, []Outcome{{Status: Invalid, Code: said.Code}})
}

// divide sends the halves of a batch that fails while others do not. A token
// that still fails alone has failed: nothing judged it, and the next run may ask
// again.
func (r *run) divide(b *batch, said *CallError) {
	if len(b.tokens) > 1 {
		halves := b.halves()
		r.opts.Meter.retries.Add(int64(len(b.places)))
		r.batcher.first(halves[0], halves[1])
		return
	}
	for _, p := range b.places {
		p.item.attempts += b.tried()
		r.conclude(p.item, &Outcome{Status: Failed, Code: said.Code}, said.Error())
	}
}

// judge takes a complete reply.
func (r *run) judge(rep reply) {
	r.outage.succeeded(time.Now())
	r.weigh(rep.batch, rep.outcomes)
}

// weigh shows the verdicts to the error brake before they become results.
func (r *run) weigh(b *batch, outcomes []Outcome) {
	r.doubtful = r.brake.saw(outcomes)
	if r.brake.trips() && !r.brake.asking && !r.broken {
		r.brake.asking, r.pending.count = true, true
	}
	r.spread(b, outcomes)
	r.doubtful = false
}

// spread gives each row of a batch its token's outcome.
func (r *run) spread(b *batch, outcomes []Outcome) {
	var again []*item
	tries := 0
	for _, p := range b.places {
		it, o := p.item, &outcomes[p.at]
		it.attempts++
		if o.Again {
			it.undecided++
		}
		switch {
		case o.Again && it.undecided < r.opts.Attempts:
			again = append(again, it)
			tries = max(tries, it.undecided)
		case o.Status == OK && it.step+1 < len(it.Actions):
			r.advance(it, o)
		default:
			r.conclude(it, o, "")
		}
	}
	if len(again) > 0 {
		r.opts.Meter.retries.Add(int64(len(again)))
		r.waiting.add(delayed{due: time.Now().Add(backoff(tries, chance())), items: again})
	}
}

// advance sends a row on to its next action.
func (r *run) advance(it *item, o *Outcome) {
	if o.RegistrationToken != "" {
		it.subject, it.given = o.RegistrationToken, o.RegistrationToken
	}
	it.step++
	it.undecided = 0
	r.batcher.add(it)
}

// conclude makes the row's result. reason, if any, tells what the service did not.
func (r *run) conclude(it *item, o *Outcome, reason string) {
	if r.broken {
		return
	}
	to := &r.pending
	if r.doubtful {
		to = &r.suspect
	}
	to.add(it, Result{
		Claim:             it.claim.Claim,
		Key:               it.Key,
		Token:             it.Token,
		Op:                it.action().Op,
		Topic:             it.action().Topic,
		Status:            o.Status,
		Code:              o.Code,
		Attempts:          it.attempts,
		RegistrationToken: cmp.Or(o.RegistrationToken, it.given),
		Detail:            cmp.Or(o.Detail, detail(it, o.Status, reason)),
		Done:              it.done(o.Status),
	})
}

// detail is a result's detail where the service gave none: why the row ended so, and
// what was done before.
func detail(it *item, s Status, reason string) string {
	var d struct {
		Reason string   `json:"reason,omitempty"`
		Done   []string `json:"done,omitempty"`
	}
	d.Reason = reason
	if s != OK {
		for _, a := range it.done(s) {
			d.Done = append(d.Done, a.String())
		}
	}
	if d.Reason == "" && len(d.Done) == 0 {
		return ""
	}
	text, _ := json.Marshal(d)
	return string(text)
}

// flawed makes the result of a row that is not worth a call.
func (r *run) flawed(it *item) {
	r.conclude(it, &Outcome{Status: Malformed}, it.Flaw)
}
