package pipeline

import (
	"context"
	"math/rand/v2"
	"time"
)

// loop owns every row between the reader and the recorder. Each turn it sees to
// what has become due and then takes whatever happens first.
func (r *run) loop(ctx context.Context) error {
	defer r.halt()
	defer close(r.batches)
	defer close(r.records)
	r.timer = time.NewTimer(time.Hour)
	defer r.timer.Stop()
	stop := r.opts.Stop
	for {
		r.wake(time.Now())
		r.closeBatches()
		r.trust()
		if r.finished() {
			return r.verdict(ctx)
		}
		select {
		case c, ok := <-r.readable():
			r.take(c, ok)
		case r.sendable() <- r.batcher.next():
			r.batcher.pop()
			r.inFlight++
		case rep := <-r.replies:
			r.inFlight--
			r.handle(rep)
		case r.recordable() <- r.pending:
			r.pending, r.writing = record{}, true
		case a := <-r.acks:
			r.writing = false
			r.settle(a)
		case <-r.timer.C:
		case <-stop:
			stop = nil
			r.end(ErrStopped)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// end begins nothing more: what is in flight is finished and recorded, and Run
// returns err.
func (r *run) end(err error) {
	if r.ended == nil {
		r.ended = err
		r.halt()
	}
}

func (r *run) finished() bool {
	if r.inFlight > 0 || r.writing || !r.pending.empty() {
		return false
	}
	return r.ended != nil || !r.reading && r.inHand == 0
}

// verdict is what Run returns. Calls fail when ctx ends, but not for their own
// fault.
func (r *run) verdict(ctx context.Context) error {
	switch {
	case r.ended != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case r.ended != nil:
		return r.ended
	case r.taken:
		return ErrHeldElsewhere
	}
	return nil
}

// readable is where rows come from, or nil while there is no room for them.
func (r *run) readable() <-chan chunk {
	if !r.reading || r.ended != nil || r.full() {
		return nil
	}
	return r.chunks
}

// full reports whether the window has no room for another chunk.
func (r *run) full() bool { return r.inHand+r.chunkRows > r.opts.Window }

// take lets a chunk of rows in.
func (r *run) take(c chunk, ok bool) {
	r.reading, r.idle = ok, ok && c.idle
	if c.err != nil {
		r.end(c.err)
	}
	if c.claim == nil {
		return
	}
	c.claim.read = c.last
	c.claim.open += len(c.items)
	r.opts.Meter.read.Add(int64(len(c.items)))
	for _, it := range c.items {
		r.inHand += it.weight()
		if it.Flaw == "" {
			r.batcher.add(it)
		} else {
			r.flawed(it)
		}
	}
	r.finishSegment(c.claim)
}

// sendable is where the next batch goes, or nil while none may go.
func (r *run) sendable() chan<- *batch {
	if r.ended != nil || r.batcher.next() == nil || r.inFlight >= r.allowance() {
		return nil
	}
	return r.batches
}

// allowance is how many calls may be in flight now: few until the error brake
// can judge, and one at a time while the service does not answer.
func (r *run) allowance() int {
	switch {
	case r.brake.asking, time.Now().Before(r.outage.until):
		return 0
	case r.outage.total(r.opts.Concurrency):
		return 1
	case !r.brake.warm():
		return min(r.opts.Concurrency, r.brake.wants(r.batcher.next()))
	default:
		return r.opts.Concurrency
	}
}

// closeBatches hands open batches on that will not fill.
func (r *run) closeBatches() {
	switch {
	case r.ended != nil || r.batcher.next() != nil || r.inFlight >= r.allowance():
	case r.full() && r.batcher.rows > r.opts.Window/2:
		r.batcher.closeFullest()
	case r.starved():
		r.batcher.closeAll()
	}
}

// starved reports whether nothing under way can bring another row.
func (r *run) starved() bool { return r.inFlight == 0 && len(r.waiting) == 0 && !r.fed() }

// fed reports whether the reader can bring rows without one in hand being sent.
func (r *run) fed() bool {
	return r.reading && !r.idle && (!r.full() || r.writing || !r.pending.empty())
}

// wake brings back what has waited long enough, and sets the timer for the rest.
func (r *run) wake(now time.Time) {
	if r.ended != nil {
		return
	}
	for d, ok := r.waiting.due(now); ok; d, ok = r.waiting.due(now) {
		if d.batch != nil {
			r.batcher.first(d.batch)
		}
		for _, it := range d.items {
			r.batcher.add(it)
		}
	}
	next := r.outage.until
	if len(r.waiting) > 0 && (!next.After(now) || r.waiting[0].due.Before(next)) {
		next = r.waiting[0].due
	}
	if next.After(now) {
		r.timer.Reset(next.Sub(now))
	}
}

// recordable is where finished rows go, or nil while there is nothing to record.
func (r *run) recordable() chan<- record {
	if r.writing || r.pending.empty() {
		return nil
	}
	return r.records
}

// trust lets the rows that the error brake held back be recorded: when
// it has seen enough, or when there is no more to see.
func (r *run) trust() {
	if r.brake.asking {
		return
	}
	over := r.starved() && r.batcher.next() == nil && len(r.batcher.open) == 0
	if r.ended != nil {
		over = r.inFlight == 0 && !r.brake.over()
	}
	if over || !r.brake.doubts() {
		r.pending.addAll(r.suspect)
		r.suspect = record{}
	}
}

// settle takes the recorder's answer: the rows have left the pipeline.
func (r *run) settle(a ack) {
	if a.err != nil {
		r.broken = true
		r.pending, r.suspect = record{}, record{}
		r.end(a.err)
		return
	}
	for i, it := range a.record.items {
		r.inHand -= it.weight()
		it.claim.open--
		if it.claim.Lease.Lost() {
			r.lose()
		} else {
			r.opts.Meter.count(&a.record.results[i])
			r.brake.recorded.add(a.record.results[i].Status)
		}
		r.finishSegment(it.claim)
	}
	if a.record.count {
		if r.brake.counted(a.counts); r.brake.trips() {
			r.end(r.brake.error())
		}
	}
}

// drop lets a row go without a result: somebody else has it now.
func (r *run) drop(it *item) {
	r.inHand -= it.weight()
	it.claim.open--
}

// lose notes that somebody else has a row of ours. While the reader goes on it
// looks after that segment: it takes it back, or sees it finished.
func (r *run) lose() { r.taken = r.taken || !r.reading }

func (r *run) finishSegment(c *claim) {
	if c.settled() {
		c.read = false
		r.pending.finished = append(r.pending.finished, c)
	}
}

func chance() float64 { return rand.Float64() }
