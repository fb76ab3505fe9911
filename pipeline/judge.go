package pipeline

import (
	"encoding/json"
	"slices"
	"time"
)

// handle sees to what a worker brought back.
func (l *loop) handle(rep reply) {
	l.setAside(rep.unsent)
	if rep.stop != nil {
		l.end(rep.stop)
	}
	switch {
	case rep.batch == nil:
	case rep.err != nil:
		l.failed(rep)
	default:
		l.judge(rep)
	}
}

// setAside takes back rows whose lease is not held. Those of a segment that is
// lost are somebody else's now; the others wait for the renewal.
func (l *loop) setAside(unsent []*item) {
	var lapsed []*item
	for _, it := range unsent {
		if it.claim.Lease.Lost() {
			l.lose()
			l.letGo(it)
		} else {
			lapsed = append(lapsed, it)
		}
	}
	if len(lapsed) > 0 {
		l.waiting.add(delayed{due: time.Now().Add(heldPoll), items: lapsed})
	}
}

// failed sees to a call that brought no verdicts.
func (l *loop) failed(rep reply) {
	now, b, said := time.Now(), rep.batch, callError(rep.err)
	l.outage.idled(rep.sent, rep.waited)
	after := respect(said.After, l.opts.Patience, chance())
	if l.outage.failed(now, said, l.opts.Concurrency, chance()); l.outage.lasts(now) {
		l.opts.Meter.inTrouble(rep.err)
	}
	switch said.Kind {
	case Fatal:
		l.end(rep.err)
	case Refused:
		l.bisect(b, said)
	case Throttled:
		l.repeat(b, max(backoff(1, chance()), after))
	case Unavailable:
		if b.failures++; b.failing.IsZero() {
			b.failing = now
		}
		if b.tried() >= l.opts.Attempts && l.divisible(b, said) {
			l.divide(b, said)
			break
		}
		l.repeat(b, max(backoff(b.failures, chance()), after))
	}
	if said.Kind != Fatal && (l.outage.over(now) || l.inFlight == 0 && l.outage.vain(b, l.opts.Attempts)) {
		l.end(&UnavailableError{Err: rep.err, Alike: l.outage.alike})
	}
}

// divisible reports whether a batch that has had all its attempts is to be divided: in
// an outage that costs a few calls, and often it is the only way to tell the two
// apart. A token alone is at fault if others were judged meanwhile; and where
// nothing is left to tell, if the service itself failed on it.
func (l *loop) divisible(b *batch, said *CallError) bool {
	switch {
	case len(b.tokens) > 1:
		return l.outage.answered
	case l.outage.blames(b):
		return true
	default:
		return said.Answered && l.noneToTell()
	}
}

// noneToTell reports whether nothing is left to send but tokens that have had all
// their attempts, each alone.
func (l *loop) noneToTell() bool {
	if l.inFlight > 0 || l.fed() || l.batcher.rows > 0 || l.batcher.next() != nil {
		return false
	}
	return !slices.ContainsFunc(l.waiting, func(d delayed) bool {
		return d.batch == nil || len(d.batch.tokens) > 1 || d.batch.tried() < l.opts.Attempts
	})
}

func (l *loop) repeat(b *batch, wait time.Duration) {
	l.opts.Meter.retries.Add(int64(len(b.places)))
	l.waiting.add(delayed{due: time.Now().Add(wait), batch: b})
}

// bisect looks for the token for which the service refuses the batch. Alone, the
// token is at fault.
func (l *loop) bisect(b *batch, said *CallError) {
	if len(b.tokens) > 1 {
		l.divide(b, said)
		return
	}
	l.weigh(b, []Outcome{{Status: Invalid, Code: said.Code}})
}

// divide sends the halves of a batch that fails while others do not. A token
// that still fails alone has failed: nothing judged it, and the next run may ask
// again.
func (l *loop) divide(b *batch, said *CallError) {
	if len(b.tokens) > 1 {
		halves := b.halves()
		l.opts.Meter.retries.Add(int64(len(b.places)))
		l.batcher.first(halves[0], halves[1])
		return
	}
	for _, p := range b.places {
		p.item.attempts += int32(b.tried())
		l.conclude(p.item, &Outcome{Status: Failed, Code: said.Code}, said.Error())
	}
}

// judge takes a complete reply.
func (l *loop) judge(rep reply) {
	l.outage.succeeded(time.Now())
	l.opts.Meter.inTrouble(nil)
	l.weigh(rep.batch, rep.outcomes)
	l.batcher.reuse(rep.batch)
}

// weigh shows the verdicts to the error brake before they become results.
func (l *loop) weigh(b *batch, outcomes []Outcome) {
	l.doubtful = l.brake.saw(outcomes)
	if l.brake.trips() && !l.brake.asking && !l.broken {
		l.brake.asking, l.pending.count = true, true
	}
	l.spread(b, outcomes)
	l.doubtful = false
}

// spread gives each row of a batch its token's outcome.
func (l *loop) spread(b *batch, outcomes []Outcome) {
	var again []*item
	tries := 0
	for _, p := range b.places {
		it, o := p.item, &outcomes[p.at]
		it.attempts++
		if o.Again {
			it.undecided++
		}
		switch {
		case o.Again && int(it.undecided) < l.opts.Attempts:
			it.alone()
			again = append(again, it)
			tries = max(tries, int(it.undecided))
		case o.Status == OK && int(it.step)+1 < len(it.Actions):
			l.advance(it, o)
		default:
			l.conclude(it, o, "")
		}
	}
	l.pending.ends = append(l.pending.ends, len(l.pending.items))
	if len(again) > 0 {
		l.opts.Meter.retries.Add(int64(len(again)))
		l.waiting.add(delayed{due: time.Now().Add(backoff(tries, chance())), items: again})
	}
}

// advance sends a row on to its next action.
func (l *loop) advance(it *item, o *Outcome) {
	if o.RegistrationToken != "" {
		it.fate = &Fate{RegistrationToken: o.RegistrationToken}
	}
	it.step++
	it.undecided = 0
	l.batcher.add(it)
}

// conclude ends a row: it is to be recorded.
func (l *loop) conclude(it *item, o *Outcome, reason string) {
	if l.broken {
		return
	}
	it.conclude(o, reason, l.fate)
	if l.fate = it.fate; l.doubtful {
		l.suspect = append(l.suspect, it)
	} else {
		l.pending.items = append(l.pending.items, it)
	}
}

// detail is a result's detail where the service gave none: why the row ended so, and
// what was done before.
func detail(it *item, status Status, reason string) string {
	var d struct {
		Reason string   `json:"reason,omitempty"`
		Done   []string `json:"done,omitempty"`
	}
	d.Reason = reason
	if status != OK {
		for _, a := range it.done(status) {
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
func (l *loop) flawed(it *item) {
	l.conclude(it, &Outcome{Status: Malformed}, it.Flaw)
}
