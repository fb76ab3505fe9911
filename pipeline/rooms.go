package pipeline

// manyRooms is how many rooms change hands at a time.
const manyRooms = 256

// rooms are the items of rows that are done with, for the next ones: to make and collect them costs
// more than most that is done with a row. The reader takes, the loop gives.
type rooms struct {
	back        chan []*item
	free, given []*item // in the reader's hands; in the loop's
}

func newRooms(window int) rooms {
	return rooms{back: make(chan []*item, window/manyRooms)}
}

// take is room for a row.
func (r *rooms) take() *item {
	if len(r.free) == 0 {
		select {
		case r.free = <-r.back:
		default:
			return new(item)
		}
	}
	last := len(r.free) - 1
	it := r.free[last]
	r.free = r.free[:last]
	return it
}

// give takes the room of a row back that nobody will look at again.
func (r *rooms) give(it *item) {
	*it = item{}
	if r.given = append(r.given, it); len(r.given) < manyRooms {
		return
	}
	select {
	case r.back <- r.given:
	default:
	}
	r.given = nil
}
