package pipeline

import (
	"container/heap"
	"time"
)

// waiting holds what must not go before its time, the earliest first.
type waiting []delayed

type delayed struct {
	due   time.Time
	items []*item // to be packed anew
	batch *batch  // to be repeated as it is
}

func (w *waiting) add(d delayed) { heap.Push(w, d) }

// due takes out one that has waited long enough.
func (w *waiting) due(now time.Time) (delayed, bool) {
	if len(*w) == 0 || (*w)[0].due.After(now) {
		return delayed{}, false
	}
	return heap.Pop(w).(delayed), true
}

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)        { *w = append(*w, x.(delayed)) }
func (w *waiting) Pop() any {
	old := *w
	last := old[len(old)-1]
	old[len(old)-1] = delayed{}
	*w = old[:len(old)-1]
	return last
}
