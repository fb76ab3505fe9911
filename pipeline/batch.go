package pipeline

import "time"

// batch is what one call carries. Rows with the same token share a place in it.
type batch struct {
	action Action
	tokens []string
	places []place
	limit  int    // tokens that it may have; like the index, for a batch that is open
	index  *index // of tokens; nil once the batch is closed

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
	at := b.index.place(b.tokens, subject)
	if at == len(b.tokens) {
		b.tokens = append(b.tokens, subject)
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
	kept := &batch{action: b.action, index: new(index), failures: b.failures, spent: b.spent, failing: b.failing}
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
