package pipeline

import "fmt"

const (
	// brakeReplies is how many replies the error brake wants to see before it
	// judges, and so the most calls in flight until it has.
	brakeReplies = 3
	// brakeTokens is how many tokens it wants to see judged: three replies to
	// batches of one say little.
	brakeTokens = 20
)

// RejectedError is the error brake: so many tokens were invalid or denied that
// the credential, not the tokens, is likely at fault.
type RejectedError struct {
	Rejected, Judged int64
	Limit            float64 // the share of rejected tokens that is allowed
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("%d of the first %d tokens were rejected as invalid or denied, more than %.0f %%: "+
		"the credential most likely belongs to another project than the tokens; "+
		"none of them has a result; mend it and run the job again, or allow a larger share",
		e.Rejected, e.Judged, 100*e.Limit)
}

// brake counts verdicts.
type brake struct {
	limit            float64
	replies          int
	judged, rejected int64
}

// newBrake returns a brake for a job with results already: one that was killed,
// or that others work on too, is judged as a whole.
func newBrake(limit float64, before Counts) brake {
	rejected := before[Invalid] + before[Denied]
	return brake{limit: limit, rejected: rejected, judged: rejected + before[OK] + before[NotFound] + before[TooManyTopics]}
}

// saw counts a reply. It reports whether the reply is to be held back: it looks
// by itself as if the credential were at fault, and the brake cannot tell yet. A
// reply is held back as a whole, or a run that is killed before the brake can
// tell would leave only rejected tokens for the next one to judge by.
func (b *brake) saw(outcomes []Outcome) (doubtful bool) {
	before := *b
	b.replies++
	for i := range outcomes {
		if outcomes[i].Again {
			continue
		}
		b.judged++
		if outcomes[i].Status.Rejected() {
			b.rejected++
		}
	}
	alone := brake{limit: b.limit, judged: b.judged - before.judged, rejected: b.rejected - before.rejected}
	return alone.over() && b.doubts()
}

func (b *brake) warm() bool { return b.replies >= brakeReplies && b.judged >= brakeTokens }

func (b *brake) over() bool { return float64(b.rejected) > b.limit*float64(b.judged) }

// doubts reports whether a rejected token may yet turn out to be the
// credential's fault.
func (b *brake) doubts() bool { return !b.warm() || b.over() }

func (b *brake) tripped() error {
	if !b.warm() || !b.over() {
		return nil
	}
	return &RejectedError{Rejected: b.rejected, Judged: b.judged, Limit: b.limit}
}
