package pipeline

import (
	"cmp"
	"strings"
)

// item is a row on its way through the pipeline. Tens of thousands are in hand, and the collector looks
// at each, over and over: what many rows share is apart, in its fate.
type item struct {
	Row
	claim     *claim
	fate      *Fate // nil until there is anything to say; until the row ends, no more than the registration token
	step      int32 // the index of the action to do next
	attempts  int32 // replies that judged the row
	undecided int32 // those of them that left the next action undecided
}

// alone gives the row texts of its own: it is to wait, and would keep in memory what its neighbours, which are done,
// shared with it.
func (it *item) alone() {
	it.Key, it.Token, it.Subject = strings.Clone(it.Key), strings.Clone(it.Token), strings.Clone(it.Subject)
}

// given is the registration token that an action gave, if any.
func (it *item) given() string {
	if it.fate == nil {
		return ""
	}
	return it.fate.RegistrationToken
}

// subject is what the next action is for.
func (it *item) subject() string { return cmp.Or(it.given(), it.Subject, it.Token) }

// conclude keeps how the row has ended. reason, if any, tells what the service did not. before is the fate of the row that
// ended last: if nothing differs, the rows share it.
func (it *item) conclude(o *Outcome, reason string, before *Fate) {
	a := it.action()
	f := Fate{a.Op, a.Topic, o.Status, o.Code, int(it.attempts), cmp.Or(o.RegistrationToken, it.given()),
		cmp.Or(o.Detail, detail(it, o.Status, reason)), it.done(o.Status)}
	if it.fate = before; before == nil || !f.is(before) {
		it.fate = new(f)
	}
}

func (it *item) result() Result { return Result{it.claim.Claim, it.Key, it.Token, it.fate} }

// weight is what the row counts in the window: more than one if it is uncommonly
// long, so that the window bounds bytes too.
func (it *item) weight() int { return 1 + len(it.Token)/4096 + len(it.Subject)/4096 }

func (it *item) action() Action {
	if int(it.step) == len(it.Actions) {
		return Action{} // of a row that is not worth a call
	}
	return it.Actions[it.step]
}

// done are the actions that the service has carried out, for a row that has ended so.
func (it *item) done(status Status) []Action {
	if status == OK {
		return it.Actions[:it.step+1]
	}
	return it.Actions[:it.step]
}
