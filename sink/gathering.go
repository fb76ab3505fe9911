package sink

import "sync"

// gathering puts what is announced while another announcement is on its way into the next one: where a
// call is of one token, hundreds are announced at a time. It is safe for concurrent use.
type gathering struct {
	mu   sync.Mutex
	next *announcement // nil: nothing waits
	way  sync.Mutex    // held by the one that is on its way
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

// leave has those who come now join another.
func (g *gathering) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = nil
}
