package sink

import "sync"

// gathering joins announcements: what comes while one is on its way goes together into the next one.
// Where a call has one token, hundreds are announced at a time. It is safe for concurrent use.
type gathering struct {
	mu   sync.Mutex
	next *announcement // nil: nothing waits
	way  sync.Mutex    // held while an announcement is on its way
}

// announcement is what is told the database at a time.
type announcement struct {
	tokens map[string][]string // of each topic
	synced map[string]bool     // the topics that turned out to be under sync
	err    error
	over   chan struct{}
}

// say joins the next announcement, and returns when it is over. Whoever joins it first makes it.
func (g *gathering) say(topic string, tokens []string, announce func(*announcement)) *announcement {
	said, first := g.join(topic, tokens)
	if first {
		g.way.Lock()
		defer g.way.Unlock()
		g.leave()
		defer close(said.over)
		announce(said)
		return said
	}
	<-said.over
	return said
}

func (g *gathering) join(topic string, tokens []string) (next *announcement, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		first = true
		g.next = &announcement{tokens: make(map[string][]string), synced: make(map[string]bool), over: make(chan struct{})}
	}
	g.next.tokens[topic] = append(g.next.tokens[topic], tokens...)
	return g.next, first
}

// leave closes the announcement: those who come now join another.
func (g *gathering) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = nil
}
