package pipeline

// manyRooms is how many rooms change hands at a time.
const manyRooms = 256

// rooms are the items of rows that have gone their way, for the next ones: what is collected
// instead costs more than all else that is done with a row. The reader takes, the loop gives.
type rooms struct {
	back        chan []*item
	free, given []*item // in the reader's hands, in the loop's
}

func newRooms(window int) rooms {
	return rooms{back: make(chan []*item, window/manyRooms)}
}

// take is a room for a row. Whatever is in it is of another.
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

// give gives the room of a row that nobody will look at again.
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
