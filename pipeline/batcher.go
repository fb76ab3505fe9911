package pipeline

// batcher packs items into batches: one open batch for each action.
type batcher struct {
	limit func(Action) int
	open  map[Action]*batch
	last  *batch   // what was added to last, open or closed
	ready []*batch // closed, in the order in which they are to go
	rows  int      // in open batches

	// empty, to be used again
	spareIndexes []*index
	spareBatches []*batch
}

const (
	// maxShare bounds the rows of a batch whose tokens are all the same few.
	maxShare = 4
	// maxSpare bounds the indexes and the batches that are kept for the next ones.
	maxSpare = 16
)

func (b *batcher) add(it *item) {
	open := b.opened(it.action())
	open.add(it)
	b.rows++
	if len(open.tokens) >= open.limit || len(open.places) >= maxShare*open.limit {
		b.close(open)
	}
}

// opened is the open batch of the action: most often that of the row before.
func (b *batcher) opened(action Action) *batch {
	if last := b.last; last != nil && last.index != nil && last.action == action {
		return last
	}
	open := b.open[action]
	if open == nil {
		open = takeSpare(&b.spareBatches)
		open.action, open.limit, open.index = action, b.limit(action), takeSpare(&b.spareIndexes)
		if len(b.open) == 0 && open.tokens == nil { // of many, most stay small for long
			open.tokens, open.places = make([]string, 0, open.limit), make([]place, 0, open.limit)
		}
		b.open[action] = open
	}
	b.last = open
	return open
}

// takeSpare takes the last element, or makes one.
func takeSpare[T any](from *[]*T) *T {
	n := len(*from)
	if n == 0 {
		return new(T)
	}
	last := (*from)[n-1]
	*from = (*from)[:n-1]
	return last
}

// reuse takes back a batch whose rows have all gone on.
func (b *batcher) reuse(old *batch) {
	if len(b.spareBatches) < maxSpare {
		clear(old.tokens)
		*old = batch{tokens: old.tokens[:0], places: old.places[:0]}
		b.spareBatches = append(b.spareBatches, old)
	}
}

func (b *batcher) close(open *batch) {
	delete(b.open, open.action)
	b.rows -= len(open.places)
	if len(b.spareIndexes) < maxSpare {
		open.index.clear()
		b.spareIndexes = append(b.spareIndexes, open.index)
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
