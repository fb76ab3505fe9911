package pipeline

import "fmt"

const (
	// brakeReplies is how many replies the error brake wants to see before it
	// judges, and so the most calls in flight until it has, unless they are small.
	brakeReplies = 3
	// brakeTokens is how many tokens it wants to see judged: three replies to
	// batches of one say little.
	brakeTokens = 20
)

// ErrorBrakeError is the error brake: so many tokens were invalid or denied that
// the credential, not the tokens, is likely at fault.
type ErrorBrakeError struct {
	Rejected, Judged int64
	Limit            float64 // the share of rejected tokens that is allowed
}

func (e *ErrorBrakeError) Error() string {
	return fmt.Sprintf("%d of %d tokens judged so far were rejected as invalid or denied, more than %.0f %%: "+
		"the credential most likely belongs to another project than the tokens, or an import names another app or environment; "+
		"those replies are not recorded; correct this and run the job again, or allow a larger share (--max-rejected)",
		e.Rejected, e.Judged, 100*e.Limit)
}

// brake counts verdicts. It judges a job as a whole: what this run has seen, and
// what is recorded by others and by earlier runs.
type brake struct {
	limit    float64
	replies  int
	own      tally // what this run has seen
	recorded tally // the part of it that is recorded
	others   tally // what else is recorded, as far as is known
	asking   bool  // the recorder counts again what is recorded
}

// tally counts the tokens judged.
type tally struct{ judged, rejected int64 }

func (t *tally) add(s Status) {
	switch {
	case s.Rejected():
		t.rejected++
		t.judged++
	case s == OK, s == NotFound, s == TooManyTopics:
		t.judged++
	}
}

func (t tally) over(limit float64) bool { return float64(t.rejected) > limit*float64(t.judged) }

func newBrake(limit float64, recorded Counts) brake {
	b := brake{limit: limit}
	b.counted(recorded)
	return b
}

// counted takes the results of the job, this run's among them.
func (b *brake) counted(counts Counts) {
	rejected := counts[Invalid] + counts[Denied]
	judged := rejected + counts[OK] + counts[NotFound] + counts[TooManyTopics]
	b.others = tally{judged: judged - b.recorded.judged, rejected: rejected - b.recorded.rejected}
	b.asking = false
}

// saw counts a reply. It reports whether the reply is to be held back: it looks
// by itself as if the credential were at fault, and the brake cannot tell yet. A
// reply is held back as a whole, or a run that is killed before the brake can
// tell would leave only rejected tokens for the next one to judge by.
func (b *brake) saw(outcomes []Outcome) (doubtful bool) {
	var alone tally
	for i := range outcomes {
		if !outcomes[i].Again {
			alone.add(outcomes[i].Status)
		}
	}
	b.replies++
	b.own.judged += alone.judged
	b.own.rejected += alone.rejected
	return alone.over(b.limit) && b.doubts()
}

func (b *brake) all() tally {
	return tally{judged: b.own.judged + b.others.judged, rejected: b.own.rejected + b.others.rejected}
}

func (b *brake) warm() bool { return b.replies >= brakeReplies && b.all().judged >= brakeTokens }

// wants is how many calls like the next one it takes until the brake can judge: as many may
// be in flight. What comes next is not known if next is nil.
func (b *brake) wants(next *batch) int {
	calls := brakeReplies - b.replies
	if next != nil {
		calls = max(calls, (brakeTokens-int(b.all().judged))/len(next.tokens))
	}
	return max(1, calls)
}

func (b *brake) over() bool { return b.all().over(b.limit) }

// doubts reports whether a rejected token may yet turn out to be the
// credential's fault.
func (b *brake) doubts() bool { return !b.warm() || b.over() }

// trips reports whether the job is to be stopped, as far as is known.
func (b *brake) trips() bool { return b.warm() && b.over() }

func (b *brake) error() error {
	all := b.all()
	return &ErrorBrakeError{Rejected: all.rejected, Judged: all.judged, Limit: b.limit}
}
