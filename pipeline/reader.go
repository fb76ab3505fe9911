package pipeline

import (
	"context"
	"errors"
	"time"
)

const (
	mostChunkRows = 512
	// heldPoll is how often a process that has nothing left to claim looks
	// whether another has died: seldom enough that with all else that it
	// asks meanwhile, it asks a sink one question a second at most.
	heldPoll = 2500 * time.Millisecond
)

// claim is a segment on its way through this run. The loop owns it once its
// first chunk has arrived.
type claim struct {
	*Claim
	open int  // rows between reading and recording
	read bool // all rows have arrived
}

// settled reports whether every row of the segment has a result.
func (c *claim) settled() bool { return c.read && c.open == 0 && !c.Lease.Lost() }

// chunk is what the reader brings at a time.
type chunk struct {
	claim *claim
	items []*item
	last  bool // the segment ends here
	idle  bool // there is nothing to read until another process gives up a segment
	err   error
}

// read brings segment after segment until none is left or ctx ends. It closes the
// channel only when none is left: the end of ctx is no end of the rows.
func (r *run) read(ctx context.Context) error {
	for ctx.Err() == nil {
		taken, err := r.job.Sink.Claim(ctx, r.job.Source.Next)
		switch {
		case errors.Is(err, ErrNothingLeft):
			close(r.chunks)
			return nil
		case errors.Is(err, ErrHeldElsewhere):
			r.bring(ctx, chunk{idle: true})
			sleep(ctx, heldPoll)
		case err != nil:
			r.bring(ctx, chunk{err: err})
			return nil
		default:
			r.readSegment(ctx, &claim{Claim: taken})
		}
	}
	return nil
}

func (r *run) readSegment(ctx context.Context, c *claim) {
	items, weight := r.items.chunk(), 0
	for row, err := range r.job.Source.Rows(ctx, c.Segment) {
		if err != nil {
			r.bring(ctx, chunk{claim: c, items: items, err: err})
			return
		}
		if c.Recorded != nil && c.Recorded(row.Key) {
			continue
		}
		if row.Flaw == "" {
			row.Flaw = TokenFlaw(row.Token)
		}
		it := r.items.take()
		*it = item{Row: row, claim: c}
		items, weight = append(items, it), weight+it.weight()
		if weight >= r.chunkRows {
			if !r.bring(ctx, chunk{claim: c, items: items}) || c.Lease.Lost() {
				return
			}
			items, weight = r.items.chunk(), 0
		}
	}
	r.bring(ctx, chunk{claim: c, items: items, last: true})
}

// bring hands a chunk to the loop, waiting while the window is full.
func (r *run) bring(ctx context.Context, c chunk) bool {
	select {
	case r.chunks <- c:
		return true
	case <-ctx.Done():
		return false
	}
}
