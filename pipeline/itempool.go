package pipeline

// itemPool keeps the items of rows that are done for the rows to come, and the lists in which they go: to
// allocate and collect an item for each row costs more than most of what is done with it. The reader takes items and
// sends them in lists, its chunks; the loop gives items back in lists of the same size. For the lists that one of them
// sends, it gets lists of the other's, and keeps one to fill again.
type itemPool struct {
	size int // items in a list
	back chan []*item

	// of the reader
	free       []*item // to be taken
	fresh      []item  // never used
	readerList []*item // empty, for the next chunk

	// of the loop
	given    []*item // not handed over yet
	loopList []*item // empty, for the next that are given
}

func newItemPool(window, size int) itemPool {
	return itemPool{size: size, back: make(chan []*item, window/size)}
}

// chunk returns an empty list for the items of a chunk.
func (p *itemPool) chunk() []*item { return p.list(&p.readerList) }

// take returns an item, whose old content is gone.
func (p *itemPool) take() *item {
	if len(p.free) == 0 {
		select {
		case free := <-p.back:
			p.free, p.readerList = free, p.free
		default:
			return p.new()
		}
	}
	last := len(p.free) - 1
	it := p.free[last]
	p.free = p.free[:last]
	return it
}

// new returns an item of a block: the collector looks at a block at once.
func (p *itemPool) new() *item {
	if len(p.fresh) == 0 {
		p.fresh = make([]item, p.size)
	}
	it := &p.fresh[0]
	p.fresh = p.fresh[1:]
	return it
}

// arrived takes the list of a chunk whose items the loop has.
func (p *itemPool) arrived(chunk []*item) { p.loopList = chunk[:0] }

// give takes back an item that nobody will look at again.
func (p *itemPool) give(it *item) {
	*it = item{}
	if p.given == nil {
		p.given = p.list(&p.loopList)
	}
	if p.given = append(p.given, it); len(p.given) < p.size {
		return
	}
	select {
	case p.back <- p.given:
	default:
	}
	p.given = nil
}

// list returns the spare list, or a new one.
func (p *itemPool) list(spare *[]*item) []*item {
	list := *spare
	if *spare = nil; list == nil {
		return make([]*item, 0, p.size)
	}
	return list
}
