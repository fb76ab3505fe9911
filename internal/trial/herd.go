package trial

import (
	"maps"
	"os"
	"slices"
	"sync"
)

// Herd are the processes that run. Any number may use it at once.
type Herd struct {
	mu      sync.Mutex
	changed *sync.Cond
	free    map[*os.Process]bool // that run; whether nothing was done to it yet
	over    bool
}

func newHerd() *Herd {
	h := &Herd{free: map[*os.Process]bool{}}
	h.changed = sync.NewCond(&h.mu)
	return h
}

// Join adds a process that has been started.
func (h *Herd) Join(it *os.Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free[it] = true
	h.changed.Broadcast()
}

// Leave removes a process that has ended.
func (h *Herd) Leave(it *os.Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.free, it)
}

// Take hands out a process that runs and was not taken before, and waits for one if there is none. It is nil, in which
// nothing can be done to it, when the test is over.
func (h *Herd) Take() *os.Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ; !h.over; h.changed.Wait() {
		for it, free := range h.free {
			if free {
				h.free[it] = false
				return it
			}
		}
	}
	return nil
}

// All are those that run now.
func (h *Herd) All() []*os.Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.free))
}

// disperse ends all waiting, from now on.
func (h *Herd) disperse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.changed.Broadcast()
}
