package pipeline

// handover is how many items the loop gives back to the reader at a time.
const handover = 256

// itemPool keeps the items of rows that are done for the rows to come: to allocate and collect an
// item for each row costs more than most of what is done with it. Only the reader takes, and only the loop gives.
type itemPool struct {
	back  chan []*item
	free  []*item // the reader's, to be taken
	given []*item // the loop's, not handed over yet
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
			return new(item)
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
