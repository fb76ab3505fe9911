package iidtest

import (
	"context"
	"time"
)

// Latency is the time that every call takes before it has an effect: Fixed,
// and up to Jitter more, drawn by Seed for each call number. A call whose
// caller gives up meanwhile has no effect and no answer; for one that has, see
// the fault AppliedThenReset.
type Latency struct {
	Fixed  time.Duration
	Jitter time.Duration
	Seed   uint64
}

func (l Latency) of(call int) time.Duration {
	return l.Fixed + time.Duration(draw(l.Seed, uint64(call))*float64(l.Jitter))
}

func (l Latency) wait(ctx context.Context, call int) error {
	return pause(ctx, l.of(call))
}

// pause waits for d, or until the caller has gone.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
