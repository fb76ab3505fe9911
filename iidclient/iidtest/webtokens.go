package iidtest

import "maps"

// webTokens are the push subscriptions by token. A token that was renewed leads
// on to its successor, so that a refresh whose answer was lost can be repeated.
type webTokens struct {
	pushes  map[string]PushSubscription
	renewed map[string]string
}

func newWebTokens() webTokens {
	return webTokens{pushes: map[string]PushSubscription{}, renewed: map[string]string{}}
}

// Pushes are the push subscriptions that the service holds, by token.
func (s *Server) Pushes() map[string]PushSubscription {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return maps.Clone(s.state.web.pushes)
}

func (s *state) identifyEndpoint(endpoint string) []*device {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !wellFormed([]byte(endpoint)) {
		return []*device{nil}
	}
	return []*device{s.origins.findOrAdd([]byte(endpoint))}
}

func (s *state) importPush(push PushSubscription) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := WebToken(push.Endpoint)
	s.devices.findOrAdd([]byte(token)).deleted = false
	s.web.pushes[token] = push
	delete(s.web.renewed, token)
	return token
}

// refreshPush replaces the subscription of a token, and the token where web says
// so. It knows only tokens that an import or a refresh has given.
func (s *state) refreshPush(token string, push PushSubscription, web Web) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.web.current(token)
	if _, known := s.web.pushes[now]; !known {
		return "", false
	}
	if now == token && web.Renews(token) {
		now = Renewed(token)
		s.devices.findOrAdd([]byte(now))
		delete(s.web.pushes, token)
		s.web.renewed[token] = now
	}
	s.web.pushes[now] = push
	return now, true
}

func (w webTokens) current(token string) string {
	for successor, gone := w.renewed[token]; gone; successor, gone = w.renewed[token] {
		token = successor
	}
	return token
}

// deletePush deletes a token, and with it what it was subscribed to.
func (s *state) deletePush(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.web.pushes[token]; !known {
		return false
	}
	delete(s.web.pushes, token)
	d := s.devices.findOrAdd([]byte(token))
	for _, sub := range d.subscriptions {
		s.topics.members[sub.topic]--
	}
	d.subscriptions, d.deleted = nil, true
	return true
}
