package pipeline

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// ErrNothingLeft is returned by Sink.Claim when every segment is finished or in
// this process's own hands, and the source has no more.
var ErrNothingLeft = errors.New("no segment is left")

// ErrHeldElsewhere is returned by Sink.Claim when other processes hold all that
// is left. A later call may find that one of them has died.
var ErrHeldElsewhere = errors.New("the segments that are left are held by other processes")

// Plan cuts the segment behind another: [Source].Next.
type Plan func(ctx context.Context, after Segment) (Segment, bool, error)

// Sink is the memory of a job: which segments are left, and which rows have a
// result. Claim is called by one goroutine, Record and Finish by another.
type Sink interface {
	// Claim takes the next open segment, cutting a new one by plan when there is
	// none, and says which of its rows have a result already. It returns
	// ErrNothingLeft or ErrHeldElsewhere when there is nothing to take.
	Claim(ctx context.Context, plan Plan) (*Claim, error)
	// Record makes results durable: when it returns nil they survive the process
	// and the machine. When it fails, it has kept none of them, or some of them as they
	// are if it cannot take them back. Results of a segment whose lease is lost are
	// dropped, and the lease says so. Record retries what may pass; an error is final.
	// It must not look at the slice after it has returned, with an error either.
	Record(ctx context.Context, results []Result) error
	// Finish closes a segment, all of whose rows have a result.
	Finish(ctx context.Context, c *Claim) error
	// Counts counts the results of the job: this run's, those of earlier runs, and
	// those of other processes. It is called before the first Claim, and by the
	// goroutine that records.
	Counts(ctx context.Context) (Counts, error)
}

// Herald is a [Sink] that wants to hear of each call before it is made, and again when it has ended.
// A call whose end it has not heard of may have been carried out, or may yet be.
type Herald interface {
	// Announce is called before each call, and again before each repetition, by [Fresh] at most. When
	// it returns nil, what it was told is durable. Calls of several tokens are announced by one goroutine
	// at a time, calls of one token by many at once. The list of tokens is the caller's again when it returns,
	// as from Ended. An error is final, as that of Record.
	Announce(ctx context.Context, a Action, tokens []string) error
	// Ended follows each Announce that returned nil, before the results are recorded: the call has been
	// answered, or it will not be made, or no answer will come and the service may yet carry it out
	// (lingers, see [CallError.Lingers]). It is called by several goroutines at a time; ctx may have
	// ended. An error is final.
	Ended(ctx context.Context, a Action, tokens []string, lingers bool) error
}

// Fresh is how old an announcement may be when its call is made.
const Fresh = 10 * time.Second

// Claim is a segment in this process's hands.
type Claim struct {
	Segment Segment
	// Fence counts the claims of this segment; a sink takes the writes of the
	// last one only. A sink without leases leaves it at 0.
	Fence int64
	// Recorded reports whether the row with the key has a result; nil: none has.
	Recorded func(key string) bool
	Lease    *Lease // nil: nobody else can take the segment
}

// Lease is the right to send for a segment. The zero Lease is not held. It is
// safe for concurrent use.
type Lease struct {
	until atomic.Pointer[time.Time]
	lost  atomic.Bool
}

// Extend moves the end of the lease. until must be reckoned from before the
// renewal was asked for, on the monotonic clock: then it ends here before it
// ends for others.
func (l *Lease) Extend(until time.Time) { l.until.Store(&until) }

// Lose ends the lease for good: somebody else has taken the segment.
func (l *Lease) Lose() { l.lost.Store(true) }

// Lost reports whether somebody else has taken the segment. A nil lease is never
// lost.
func (l *Lease) Lost() bool { return l != nil && l.lost.Load() }

// Held reports whether a call for the segment may be sent now. A nil lease is
// always held.
func (l *Lease) Held() bool {
	if l == nil {
		return true
	}
	until := l.until.Load()
	return !l.lost.Load() && until != nil && time.Now().Before(*until)
}
