package iidtest

import (
	"slices"
	"strings"
)

// Subscription is a topic of a token, and the day (yyyy-mm-dd, UTC) on which
// the token was first added to it.
type Subscription struct {
	Topic   string `json:"topic"`
	AddDate string `json:"addDate"`
}

// Subscribers are the tokens that are subscribed to topic, sorted. It reads
// every token there is; Count does not.
func (s *Server) Subscribers(topic string) []string { return s.state.subscribers(topic) }

// Count is the number of tokens that are subscribed to topic.
func (s *Server) Count(topic string) int { return s.state.counts()[topic] }

// Counts is the number of subscribed tokens of every topic that has any.
func (s *Server) Counts() map[string]int { return s.state.counts() }

// Subscriptions are the topics of token, sorted by name.
func (s *Server) Subscriptions(token string) []Subscription { return s.state.subscriptions(token) }

func (s *state) subscribers(topic string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	number, known := s.topics.numbers[topic]
	if !known {
		return nil
	}
	tokens := make([]string, 0, s.topics.members[number])
	s.devices.all(func(d *device) {
		if d.find(number) >= 0 {
			tokens = append(tokens, d.token)
		}
	})
	slices.Sort(tokens)
	return tokens
}

func (s *state) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for number, members := range s.topics.members {
		if members > 0 {
			counts[s.topics.names[number]] = members
		}
	}
	return counts
}

func (s *state) subscriptions(token string) []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices.find(token)
	if d == nil {
		return nil
	}
	list := make([]Subscription, len(d.subscriptions))
	for i, sub := range d.subscriptions {
		list[i] = Subscription{Topic: s.topics.names[sub.topic], AddDate: dateOf(sub.day)}
	}
	slices.SortFunc(list, func(a, b Subscription) int {
		return strings.Compare(a.Topic, b.Topic)
	})
	return list
}
