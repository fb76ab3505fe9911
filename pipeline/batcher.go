package pipeline

import (
	"cmp"
	"time"
)

// item is a row on its way through the pipeline. Tens of thousands are in hand, and the collector looks
// at each, over and over: what few rows have is apart, in the fate.
type item struct {
	Row
	claim     *claim
	fate      *fate // nil until there is anything to say
	step      int32 // the index of the action to do next
	attempts  int32 // replies that judged the row
	undecided int32 // those of them that left the next action undecided
}

// fate is what has become of a row.
type fate struct {
	status Status
	code   string
	given  string // the registration token that an action gave
	detail string
}

// well is the fate of most rows.
var well = fate{status: OK}

// given is the registration token that an action gave, if any.
func (it *item) given() string {
	if it.fate == nil {
		return ""
	}
	return it.fate.given
}

// subject is what the next action is for.
func (it *item) subject() string { return cmp.Or(it.given(), it.Subject, it.Token) }

// conclude keeps how the row has ended. reason, if any, tells what the service did not.
func (it *item) conclude(o *Outcome, reason string) {
	f := fate{o.Status, o.Code, cmp.Or(o.RegistrationToken, it.given()), cmp.Or(o.Detail, detail(it, o.Status, reason))}
	if it.fate = &well; f != well {
		it.fate = new(f)
	}
}

func (it *item) result() Result {
	return Result{
		Claim:             it.claim.Claim,
		Key:               it.Key,
		Token:             it.Token,
		Op:                it.action().Op,
		Topic:             it.action().Topic,
		Status:            it.fate.status,
		Code:              it.fate.code,
		Attempts:          int(it.attempts),
		RegistrationToken: it.fate.given,
		Detail:            it.fate.detail,
		Done:              it.done(it.fate.status),
	}
}

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

// batch is what one call carries. Rows with the same token share a place in it.
type batch struct {
	action Action
	tokens []string
	places []place
	index  map[string]int // token to its place in tokens; nil once the batch is closed

	failures int       // whole-call failures in a row
	spent    int       // attempts that the batch had of which this one is a part
	failing  time.Time // when the first of them came
}

type place struct {
	item *item
	at   int // the index of the item's token in tokens
}

func (b *batch) add(it *item) {
	subject := it.subject()
	at, known := b.index[subject]
	if !known {
		at = len(b.tokens)
		b.tokens = append(b.tokens, subject)
		b.index[subject] = at
	}
	b.places = append(b.places, place{it, at})
}

// tried is how many attempts the batch has had.
func (b *batch) tried() int { return b.spent + b.failures }

// halves splits the batch between two of its tokens. Two of its attempts are not held
// against the halves: the fault of one is no fault of the other.
func (b *batch) halves() [2]*batch {
	middle := len(b.tokens) / 2
	spent := max(0, b.tried()-2)
	low := &batch{action: b.action, tokens: b.tokens[:middle:middle], spent: spent, failing: b.failing}
	high := &batch{action: b.action, tokens: b.tokens[middle:], spent: spent, failing: b.failing}
	for _, p := range b.places {
		if p.at < middle {
			low.places = append(low.places, p)
		} else {
			high.places = append(high.places, place{p.item, p.at - middle})
		}
	}
	return [2]*batch{low, high}
}

// split parts the rows whose segment may be sent for from the others: the batch
// that is left is not empty, unless it is nil.
func (b *batch) split() (*batch, []*item) {
	if b.held() {
		return b, nil
	}
	var rest []*item
	kept := &batch{action: b.action, index: make(map[string]int), failures: b.failures, spent: b.spent, failing: b.failing}
	for _, p := range b.places {
		if p.item.claim.Lease.Held() {
			kept.add(p.item)
		} else {
			rest = append(rest, p.item)
		}
	}
	if kept.index = nil; len(kept.places) == 0 {
		return nil, rest
	}
	return kept, rest
}

// held reports whether every row's segment may be sent for.
func (b *batch) held() bool {
	var last *claim
	for _, p := range b.places {
		if p.item.claim == last {
			continue
		}
		if last = p.item.claim; !last.Lease.Held() {
			return false
		}
	}
	return true
}

// batcher packs items into batches: one open batch for each action.
type batcher struct {
	limit func(Action) int
	open  map[Action]*batch
	ready []*batch // closed, in the order in which they are to go
	rows  int      // in open batches
	spare []map[string]int
}

const (
	// maxShare bounds the rows of a batch whose tokens are all the same few.
	maxShare = 4
	// maxSpare bounds the indexes that are kept for the next batches.
	maxSpare = 16
)

func (b *batcher) add(it *item) {
	action := it.action()
	limit := b.limit(action)
	open := b.open[action]
	if open == nil {
		open = &batch{action: action, index: b.emptyIndex()}
		if len(b.open) == 0 { // of many, most stay small for long
			open.tokens, open.places = make([]string, 0, limit), make([]place, 0, limit)
		}
		b.open[action] = open
	}
	open.add(it)
	b.rows++
	if len(open.tokens) >= limit || len(open.places) >= maxShare*limit {
		b.close(open)
	}
}

func (b *batcher) emptyIndex() map[string]int {
	if n := len(b.spare); n > 0 {
		index := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return index
	}
	return make(map[string]int)
}

func (b *batcher) close(open *batch) {
	delete(b.open, open.action)
	b.rows -= len(open.places)
	if len(b.spare) < maxSpare {
		clear(open.index)
		b.spare = append(b.spare, open.index)
	}
	open.index = nil
	b.ready = append(b.ready, open)
}

// closeFullest closes the open batch that holds most rows.
func (b *batcher) closeFullest() {
	var fullest *batch
	for _, open := range b.open {
		if fullest == nil || len(open.places) > len(fullest.places) {
			fullest = open
		}
	}
	if fullest != nil {
		b.close(fullest)
	}
}

func (b *batcher) closeAll() {
	for _, open := range b.open {
		b.close(open)
	}
}

// first puts batches ahead of those that wait to go.
func (b *batcher) first(batches ...*batch) { b.ready = append(batches, b.ready...) }

func (b *batcher) next() *batch {
	if len(b.ready) == 0 {
		return nil
	}
	return b.ready[0]
}

func (b *batcher) pop() {
	b.ready[0] = nil
	b.ready = b.ready[1:]
}
