package pipeline

import (
	"context"
	"time"
)

// Budget says when calls may go. It is used by all workers at once. [Limiter] is
// the budget of one process.
type Budget interface {
	// Wait blocks until n token operations may be sent at once, or ctx ends.
	Wait(ctx context.Context, n int) (Grant, error)
	// Answered takes what the reply to a call, sent with the grant, says of the
	// quota.
	Answered(ctx context.Context, g Grant, q Quota) error
}

// Grant is the right to send one call.
type Grant struct {
	At   time.Time // by the budget's clock
	Rate float64   // token operations per second at that time; +Inf: no ceiling
}

// Slack is how late a small call may go at the expense of none. Timers are coarse, by a
// millisecond on an idle Linux machine, and calls of one token are due more often than that. So
// small calls have places that are further apart by this part of a second, and those that
// are late by no more than it go all the same: no second carries more than the rate
// and one call.
const Slack = 10 * time.Millisecond

// Small reports whether calls of n operations are due so often at a rate that a
// budget gives them [Slack].
func Small(n int, rate float64) bool { return float64(n) < rate*Slack.Seconds() }

// Quota is what a reply says of the service's quota.
type Quota struct {
	Met   bool          // it was met: slow down
	After time.Duration // and send nothing for so long
}

// exhaustedShare is the share of a reply's tokens turned away for quota at which
// the whole pipeline slows down.
const exhaustedShare = 0.1

// quotaOf reads a reply. One without verdicts says nothing of the quota, unless
// it was turned away for it.
func quotaOf(outcomes []Outcome, err error, patience time.Duration) (q Quota, says bool) {
	if err != nil {
		said := callError(err)
		met := said.Kind == Throttled
		return Quota{Met: met, After: respect(said.After, patience, chance())}, met
	}
	exhausted := 0
	for i := range outcomes {
		if outcomes[i].Exhausted {
			exhausted++
		}
	}
	return Quota{Met: exhausted > 0 && float64(exhausted) >= exhaustedShare*float64(len(outcomes))}, true
}
