package pipeline

import "time"

// item is a row on its way through the pipeline.
type item struct {
	Row
	claim    *claim
	step     int    // the index of the action to do next
	subject  string // the token that the next action is for
	attempts int
}

func (it *item) action() Action { return it.Actions[it.step] }

// batch is what one call carries. Rows with the same token share a place in it.
type batch struct {
	action Action
	tokens []string
	places []place
	index  map[string]int // token to its place in tokens; nil once the batch is closed

	failures int       // whole-call failures in a row
	failing  time.Time // when the first of them came
}

type place struct {
	item *item
	at   int // the index of the item's token in tokens
}

func (b *batch) add(it *item) {
	at, known := b.index[it.subject]
	if !known {
		at = len(b.tokens)
		b.tokens = append(b.tokens, it.subject)
		b.index[it.subject] = at
	}
	b.places = append(b.places, place{it, at})
}

// halves splits the batch between two of its tokens, with nothing held against
// the halves.
func (b *batch) halves() [2]*batch {
	middle := len(b.tokens) / 2
	low := &batch{action: b.action, tokens: b.tokens[:middle:middle]}
	high := &batch{action: b.action, tokens: b.tokens[middle:]}
	for _, p := range b.places {
		if p.at < middle {
			low.places = append(low.places, p)
		} else {
			high.places = append(high.places, place{p.item, p.at - middle})
		}
	}
	return [2]*batch{low, high}
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
	spare []map[string]int
}

// maxShare bounds the rows of a batch whose tokens are all the same few.
const maxShare = 4

func (b *batcher) add(it *item) {
	action := it.action()
	limit := b.limit(action)
	open := b.open[action]
	if open == nil {
		open = b.begin(action, limit)
	}
	open.add(it)
	if len(open.tokens) >= limit || len(open.places) >= maxShare*limit {
		b.close(open)
	}
}

func (b *batcher) begin(action Action, limit int) *batch {
	open := &batch{action: action, tokens: make([]string, 0, limit), places: make([]place, 0, limit), index: b.emptyIndex(limit)}
	b.open[action] = open
	return open
}

func (b *batcher) emptyIndex(limit int) map[string]int {
	if n := len(b.spare); n > 0 {
		index := b.spare[n-1]
		b.spare = b.spare[:n-1]
		return index
	}
	return make(map[string]int, limit)
}

func (b *batcher) close(open *batch) {
	delete(b.open, open.action)
	clear(open.index)
	b.spare = append(b.spare, open.index)
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

// rows is the number of rows in open batches.
func (b *batcher) rows() int {
	n := 0
	for _, open := range b.open {
		n += len(open.places)
	}
	return n
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
