package sink

import "sync"

// underway counts the calls of this process that are announced and have not ended, for each belief. It
// is safe for concurrent use.
type underway struct {
	mu    sync.Mutex
	calls map[belief]int
}

func (u *underway) begin(topic string, tokens []string) { u.add(topic, tokens, 1) }

// end may be told of a call that begin was not told of.
func (u *underway) end(topic string, tokens []string) { u.add(topic, tokens, -1) }

func (u *underway) add(topic string, tokens []string, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n < 0 && len(u.calls) == 0 {
		return
	}
	for _, token := range tokens {
		about := belief{topic, storable(token)}
		if calls := u.calls[about] + n; calls > 0 {
			u.calls[about] = calls
		} else {
			delete(u.calls, about)
		}
	}
}

func (u *underway) has(about belief) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls[about] > 0
}
