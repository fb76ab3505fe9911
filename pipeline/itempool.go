package pipeline

// handover is how many items the loop gives back to the reader at a time.
const handover = 256

// itemPool keeps the items of rows that are done for the rows to come: to allocate and collect an
// item for each row costs more than most of what is done with it. Only the reader takes, and only the loop gives.
type itemPool struct {
	back  chan []*item
	free  []*item // the reader's, to be taken
	given []*item // the loop's, not handed over yet
	fresh []item  // the reader's, never used
}

func newItemPool(window int) itemPool {
	return itemPool{back: make(chan []*item, window/handover)}
}

// take returns an item, whose old content is gone.
func (p *itemPool) take() *item {
	if len(p.free) == 0 {
		select {
		case p.free = <-p.back:
		default:
			return p.new()
		}
	}
	last := len(p.free) - 1
	it := p.free[last]
	p.free = p.free[:last]
	return it
}

// give takes back an item that nobody will look at again.
func (p *itemPool) give(it *item) {
	*it = item{}
	if p.given = append(p.given, it); len(p.given) < handover {
		return
	}
	select {
	case p.back <- p.given:
	default:
	}
	p.given = make([]*item, 0, handover)
}

// new returns an item of a block: the collector looks at a block at once.
func (p *itemPool) new() *item {
	if len(p.fresh) == 0 {
		p.fresh = make([]item, handover)
	}
	it := &p.fresh[0]
	p.fresh = p.fresh[1:]
	return it
}
