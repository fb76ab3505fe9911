package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// reply is what a worker hands back for a batch.
type reply struct {
	batch    *batch  // what was sent; nil: nothing
	unsent   []*item // rows whose lease is not held
	outcomes []Outcome
	err      error         // of the call
	waited   time.Duration // for the budget, until it was sent
	sent     time.Time
	stop     error // of the budget or the sink: no more can be sent
}

// work makes the calls. The replies channel has room for one reply of each
// worker, so a worker never waits for the loop.
func (r *run) work(ctx, begin context.Context) error {
	for b := range r.batches {
		r.replies <- r.call(ctx, begin, b)
	}
	return nil
}

// call sends one batch when the budget allows it, unless begin ends first. Rows whose
// lease has run out meanwhile are left out.
func (r *run) call(ctx, begin context.Context, b *batch) reply {
	meter, waiting := r.opts.Meter, time.Now()
	grant, err := r.place(begin, b)
	waited := time.Since(waiting)
	meter.waited(waited)
	switch {
	case err != nil && begin.Err() != nil:
		return reply{}
	case err != nil:
		return reply{stop: err}
	}
	meter.granted(grant)
	announced := b
	b, unsent := b.split()
	if b == nil {
		return reply{unsent: unsent, stop: r.ended(ctx, announced, nil)}
	}
	sent := time.Now()
	meter.sending(len(b.tokens))
	outcomes, err := r.job.Service.Call(ctx, b.action, b.tokens)
	if err == nil && len(outcomes) != len(b.tokens) {
		err = &CallError{Kind: Unavailable, Err: fmt.Errorf("%d outcomes for %d tokens", len(outcomes), len(b.tokens))}
	}
	meter.answered(b.action.Op, len(b.tokens), time.Since(sent), err)
	rep := reply{batch: b, unsent: unsent, outcomes: outcomes, err: err, waited: waited, sent: sent}
	if quota, says := quotaOf(outcomes, err, r.opts.Patience); says {
		rep.stop = r.job.Budget.Answered(ctx, grant, quota)
	}
	rep.stop = cmp.Or(rep.stop, r.ended(ctx, announced, err))
	return rep
}

// ended tells the sink that the call it was told of has ended, with that error.
func (r *run) ended(ctx context.Context, b *batch, err error) error {
	herald, ok := r.job.Sink.(Herald)
	if !ok {
		return nil
	}
	return herald.Ended(ctx, b.action, b.tokens, err != nil && callError(err).Lingers)
}

// place tells the sink what is about to be sent, and then waits for the budget: in this order, no call
// that the sink held up makes a burst. Batches do so one after the other, so that of all that has been
// announced, one batch at most is not sent yet. Calls of one token, of which there are hundreds, do so
// side by side. A call that has waited for long is announced again.
func (r *run) place(ctx context.Context, b *batch) (Grant, error) {
	herald, ok := r.job.Sink.(Herald)
	if !ok {
		return r.wait(ctx, b)
	}
	if len(b.tokens) > 1 {
		select {
		case r.door <- struct{}{}:
			defer func() { <-r.door }()
		case <-ctx.Done():
			return Grant{}, ctx.Err()
		}
	}
	if err := herald.Announce(ctx, b.action, b.tokens); err != nil {
		return Grant{}, err
	}
	announced := time.Now()
	grant, err := r.wait(ctx, b)
	if err != nil {
		return Grant{}, cmp.Or(err, r.ended(ctx, b, nil))
	}
	if time.Since(announced) > Fresh {
		err = cmp.Or(r.ended(ctx, b, nil), herald.Announce(ctx, b.action, b.tokens))
	}
	return grant, err
}

// wait waits for the budget. What it grants when ctx has ended is left unused.
func (r *run) wait(ctx context.Context, b *batch) (Grant, error) {
	grant, err := r.job.Budget.Wait(ctx, len(b.tokens))
	return grant, cmp.Or(err, ctx.Err())
}
