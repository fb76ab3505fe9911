package iidtest

import (
	"slices"
	"sync"
	"time"
)

// operation is what a call does to a subscription.
type operation int

const (
	add operation = iota
	remove
	leave // touches no subscription
)

// change is one operation on one topic, on a day.
type change struct {
	op    operation
	topic string
	day   int32
}

// state is what the service knows, apart from how it is asked: which tokens
// there are and where they came from, who is subscribed to what since when, and
// how often each was tried. A batch is applied under one lock, so that readers see all of it or
// nothing.
type state struct {
	mu      sync.Mutex
	cap     int
	devices devices
	topics  topics
	origins devices // APNs tokens and push endpoints
	imports map[string]Imported
	web     webTokens
}

func newState(topicCap int) *state {
	s := &state{cap: topicCap}
	s.reset()
	return s
}

func (s *state) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices, s.origins = newDevices(), newDevices()
	s.imports, s.web = map[string]Imported{}, newWebTokens()
	s.topics = topics{numbers: map[string]uint32{}}
}

// identify returns the devices of tokens, making those that are new, and nil
// for tokens that can be none. It keeps no reference to tokens.
func (s *state) identify(tokens [][]byte) []*device {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*device, len(tokens))
	for i, token := range tokens {
		if wellFormed(token) {
			list[i] = s.devices.findOrAdd(token)
		}
	}
	return list
}

// apply carries out c for each device whose fate allows it, and returns one
// code per device, "" for success.
func (s *state) apply(c change, list []*device, fates []Fate) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := subscription{topic: s.topics.number(c.topic), day: c.day}
	codes := make([]string, len(list))
	for i, d := range list {
		codes[i], _ = s.applyOne(c.op, sub, d, fates[i])
	}
	return codes
}

// applyTo is apply for one device. It tells whether the device was subscribed before.
func (s *state) applyTo(d *device, c change, fate Fate) (code string, before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applyOne(c.op, subscription{topic: s.topics.number(c.topic), day: c.day}, d, fate)
}

func (s *state) applyOne(op operation, sub subscription, d *device, fate Fate) (code string, before bool) {
	if code := fate.verdict(op, d); code != "" {
		return code, false
	}
	at := d.find(sub.topic)
	switch {
	case op == add && at < 0:
		return s.add(sub, d), false
	case op == remove && at >= 0:
		d.subscriptions = slices.Delete(d.subscriptions, at, at+1)
		s.topics.members[sub.topic]--
	}
	return "", at >= 0
}

func (s *state) add(sub subscription, d *device) string {
	if len(d.subscriptions) >= s.cap {
		return CodeTooManyTopics
	}
	d.subscriptions = append(d.subscriptions, sub)
	s.topics.members[sub.topic]++
	return ""
}

func (s *state) try(d *device, fate Fate) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fate.verdict(leave, d)
}

// verdict is the code that the fate has for this try, which it counts.
func (f Fate) verdict(op operation, d *device) string {
	switch {
	case d != nil && d.deleted:
		return CodeNotFound
	case f.Code == CodeTooManyTopics && op != add:
		return ""
	case f.Tries == 0 || f.Code == "":
		return f.Code
	case d.tries >= f.Tries:
		return ""
	}
	d.tries++
	return f.Code
}

// dayOf is the number of whole days from 1970 to t, in UTC.
func dayOf(t time.Time) int32 { return int32(t.Unix() / 86400) }

func dateOf(day int32) string {
	return time.Unix(int64(day)*86400, 0).UTC().Format(time.DateOnly)
}
