package pipeline

import (
	"context"
	"math/rand/v2"
	"time"
)

// loop owns every row between the reader and the recorder. No other goroutine sees more of
// it than the run.
type loop struct {
	*run
	intake
	recording
	batcher  batcher
	waiting  waiting
	outage   outage
	brake    brake
	inHand   int   // the weight of the rows between reading and recording
	inFlight int   // batches in the workers' hands
	ended    error // why no more is begun; nil: it goes on
	timer    *time.Timer
}

// intake is what the loop knows of the reader.
type intake struct {
	reading bool // the reader may bring more
	idle    bool // the reader waits for others
	taken   bool // somebody else has rows that the reader will not see to
}

// recording is what is on its way to the sink.
type recording struct {
	pending  record   // finished rows
	spare    []record // empty, for the next ones
	fate     *Fate    // of the row that ended last
	suspect  []*item  // rows of replies that the error brake holds back
	doubtful bool     // the rows that are being concluded are such
	writing  bool     // the recorder is at work
	broken   bool     // the recorder has given up
}

func newLoop(r *run, before Counts) *loop {
	r.opts.Meter.begin(before)
	limit := func(a Action) int { return min(r.opts.BatchSize, r.job.Service.Limit(a)) }
	return &loop{
		run:     r,
		intake:  intake{reading: true},
		batcher: batcher{open: make(map[Action]*batch), limit: limit},
		outage:  outage{patience: r.opts.Patience, answered: before.Rows() > before[Malformed]},
		brake:   newBrake(r.opts.MaxRejected, before),
	}
}

// carry sees each turn to what has become due and then takes whatever happens first.
func (l *loop) carry(ctx context.Context) error {
	defer l.halt()
	defer close(l.batches)
	defer close(l.records)
	l.timer = time.NewTimer(time.Hour)
	defer l.timer.Stop()
	stop := l.opts.Stop
	for {
		l.wake(time.Now())
		l.closeBatches()
		l.trust()
		l.handOver()
		if l.finished() {
			return l.verdict(ctx)
		}
		select {
		case c, ok := <-l.readable():
			l.take(c, ok)
		case l.sendable() <- l.batcher.next():
			l.batcher.pop()
			l.inFlight++
		case rep := <-l.replies:
			l.inFlight--
			l.handle(rep)
		case a := <-l.acks:
			l.writing = false
			if a.err == nil {
				l.handOver() // what follows takes a while
			}
			l.settle(a)
		case <-l.timer.C:
		case <-stop:
			stop = nil
			l.end(ErrStopped)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// end begins nothing more: what is in flight is finished and recorded, and Run
// returns err.
func (l *loop) end(err error) {
	if l.ended == nil {
		l.ended = err
		l.halt()
	}
}

func (l *loop) finished() bool {
	if l.inFlight > 0 || l.writing || !l.pending.empty() {
		return false
	}
	return l.ended != nil || !l.reading && l.inHand == 0
}

// verdict is what Run returns. Calls fail when ctx ends, but not for their own
// fault.
func (l *loop) verdict(ctx context.Context) error {
	switch {
	case l.ended != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case l.ended != nil:
		return l.ended
	case l.taken:
		return ErrHeldElsewhere
	}
	return nil
}

// readable is where rows come from, or nil while there is no room for them.
func (l *loop) readable() <-chan chunk {
	if !l.reading || l.ended != nil || l.full() {
		return nil
	}
	return l.chunks
}

// full reports whether the window has no room for another chunk.
func (l *loop) full() bool { return l.inHand+l.chunkRows > l.opts.Window }

// take lets a chunk of rows in.
func (l *loop) take(c chunk, ok bool) {
	l.reading, l.idle = ok, ok && c.idle
	if c.err != nil {
		l.end(c.err)
	}
	if c.claim == nil {
		return
	}
	c.claim.read = c.last
	c.claim.open += len(c.items)
	l.opts.Meter.read.Add(int64(len(c.items)))
	for _, it := range c.items {
		l.inHand += it.weight()
		if it.Flaw == "" {
			l.batcher.add(it)
		} else {
			l.flawed(it)
		}
	}
	l.items.arrived(c.items)
	l.finishSegment(c.claim)
}

// sendable is where the next batch goes, or nil while none may go.
func (l *loop) sendable() chan<- *batch {
	if l.ended != nil || l.batcher.next() == nil || l.inFlight >= l.allowance() {
		return nil
	}
	return l.batches
}

// allowance is how many calls may be in flight now: few until the error brake
// can judge, and one at a time while the service does not answer.
func (l *loop) allowance() int {
	switch {
	case l.brake.asking, time.Now().Before(l.outage.until):
		return 0
	case l.outage.total(l.opts.Concurrency):
		return 1
	case !l.brake.warm():
		return min(l.opts.Concurrency, l.brake.wants(l.batcher.next()))
	default:
		return l.opts.Concurrency
	}
}

// closeBatches hands open batches on that will not fill.
func (l *loop) closeBatches() {
	switch {
	case l.ended != nil || l.batcher.next() != nil || l.inFlight >= l.allowance():
	case l.full() && l.batcher.rows > l.opts.Window/2:
		l.batcher.closeFullest()
	case l.starved():
		l.batcher.closeAll()
	}
}

// starved reports whether nothing under way can bring another row.
func (l *loop) starved() bool { return l.inFlight == 0 && len(l.waiting) == 0 && !l.fed() }

// fed reports whether the reader can bring rows without one in hand being sent.
func (l *loop) fed() bool {
	return l.reading && !l.idle && (!l.full() || l.writing || !l.pending.empty())
}

// wake brings back what has waited long enough, and sets the timer for the rest.
func (l *loop) wake(now time.Time) {
	if l.ended != nil {
		return
	}
	for d, ok := l.waiting.due(now); ok; d, ok = l.waiting.due(now) {
		if d.batch != nil {
			l.batcher.first(d.batch)
		}
		for _, it := range d.items {
			l.batcher.add(it)
		}
	}
	next := l.outage.until
	if len(l.waiting) > 0 && (!next.After(now) || l.waiting[0].due.Before(next)) {
		next = l.waiting[0].due
	}
	if next.After(now) {
		l.timer.Reset(next.Sub(now))
	}
}

// handOver gives the recorder what has finished, unless it is at work.
func (l *loop) handOver() {
	if l.writing || l.pending.empty() {
		return
	}
	l.records <- l.pending // has room: the recorder took the last one before it answered
	l.pending, l.writing = record{}, true
	if n := len(l.spare); n > 0 {
		l.pending, l.spare = l.spare[n-1], l.spare[:n-1]
	}
}

// trust lets the rows that the error brake held back be recorded: when
// it has seen enough, or when there is no more to see.
func (l *loop) trust() {
	if l.brake.asking {
		return
	}
	over := l.starved() && l.batcher.next() == nil && len(l.batcher.open) == 0
	if l.ended != nil {
		over = l.inFlight == 0 && !l.brake.over()
	}
	if over || !l.brake.doubts() {
		l.pending.items = append(l.pending.items, l.suspect...)
		l.suspect = nil
	}
}

// settle takes the recorder's answer: the rows have left the pipeline.
func (l *loop) settle(a ack) {
	if a.err != nil {
		l.broken = true
		l.pending, l.suspect = record{}, nil
		l.end(a.err)
		return
	}
	for _, it := range a.record.items {
		c := it.claim
		if c.Lease.Lost() {
			l.lose()
		} else {
			l.opts.Meter.count(it.fate.Status, it.fate.Code)
			l.brake.recorded.add(it.fate.Status)
		}
		l.letGo(it)
		l.finishSegment(c)
	}
	l.spare = append(l.spare, a.record.emptied())
	if a.record.count {
		if l.brake.counted(a.counts); l.brake.trips() {
			l.end(l.brake.error())
		}
	}
}

// letGo ends the row's way: it is recorded, or somebody else has it now.
func (l *loop) letGo(it *item) {
	l.inHand -= it.weight()
	it.claim.open--
	l.items.give(it)
}

// lose notes that somebody else has a row of ours. While the reader goes on it
// looks after that segment: it takes it back, or sees it finished.
func (l *loop) lose() { l.taken = l.taken || !l.reading }

func (l *loop) finishSegment(c *claim) {
	if c.settled() {
		c.read = false
		l.pending.finished = append(l.pending.finished, c)
	}
}

func chance() float64 { return rand.Float64() }
