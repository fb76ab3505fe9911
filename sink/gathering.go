package sink

import "sync"

// gathering joins announcements: those that come while one is being made are made together, as the next
// one. Where each call has one token, hundreds of calls are announced at a time. It is safe for
// concurrent use.
type gathering struct {
	mu     sync.Mutex
	next   *announcement // open to join; nil: nobody waits
	making sync.Mutex    // held while an announcement is being made
}

// announcement is what the database is told in one round trip.
type announcement struct {
	tokens map[string][]string // by topic
	synced map[string]bool     // the topics that turned out to be under sync
	err    error
	made   chan struct{} // closed when synced and err are there
}

// say joins the next announcement, and returns when it is made. Whoever joins it first makes it.
func (g *gathering) say(topic string, tokens []string, announce func(*announcement)) *announcement {
	said, first := g.join(topic, tokens)
	if first {
		g.making.Lock()
		defer g.making.Unlock()
		g.close()
		defer close(said.made)
		announce(said)
		return said
	}
	<-said.made
	return said
}

func (g *gathering) join(topic string, tokens []string) (next *announcement, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		first = true
		g.next = &announcement{tokens: make(map[string][]string), synced: make(map[string]bool), made: make(chan struct{})}
	}
	g.next.tokens[topic] = append(g.next.tokens[topic], tokens...)
	return g.next, first
}

// close lets nobody else join: those who come now wait for the announcement after this one.
func (g *gathering) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = nil
}
