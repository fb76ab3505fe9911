package sink

import (
	"cmp"
	"slices"

	"github.com/bulksub/bulksub/pipeline"
)

// belief is a subscription that the service may hold, of a token to a topic under sync.
type belief struct{ topic, token string }

// event is what a result says of a belief.
type event int

const (
	unsubscribed event = iota
	subscribed
	failed
	refused
	events // how many there are
)

// news is what results say of topics under sync.
type news struct {
	gone   map[string]bool // tokens that are subscribed to nothing any more
	events map[belief]event
}

// read reads the results from the last to the first: if they contradict each other, the last one counts.
// A row that was given a registration token was subscribed by that one.
func read(results []pipeline.Result, synced []string) news {
	said := news{gone: make(map[string]bool), events: make(map[belief]event)}
	for _, r := range slices.Backward(results) {
		token := storable(cmp.Or(r.RegistrationToken, r.Token))
		if tokenGone(&r) {
			said.gone[token] = true
		}
		if said.gone[token] {
			continue
		}
		note := func(a pipeline.Action, e event) {
			about := belief{a.Topic, token}
			if _, known := said.events[about]; !known && onTopic(a) && slices.Contains(synced, a.Topic) {
				said.events[about] = e
			}
		}
		switch tried := (pipeline.Action{Op: r.Op, Topic: r.Topic}); {
		case r.Status == pipeline.Failed:
			note(tried, failed)
		case r.Status != pipeline.OK:
			note(tried, refused)
		}
		for _, a := range slices.Backward(r.Done) {
			if a.Op == pipeline.Subscribe {
				note(a, subscribed)
			} else {
				note(a, unsubscribed)
			}
		}
	}
	return said
}

// touched lists the topics of all calls that the results tell of, and reports whether a token is gone.
func touched(results []pipeline.Result) (topics []string, gone bool) {
	seen := make(map[string]bool)
	touch := func(a pipeline.Action) {
		if onTopic(a) && !seen[a.Topic] {
			seen[a.Topic] = true
			topics = append(topics, a.Topic)
		}
	}
	for i := range results {
		r := &results[i]
		gone = gone || tokenGone(r)
		for _, a := range r.Done {
			touch(a)
		}
		if r.Status != pipeline.OK {
			touch(pipeline.Action{Op: r.Op, Topic: r.Topic})
		}
	}
	return topics, gone
}

// tokenGone reports whether there is no such token any more: the service does not know it, or has
// deleted it.
func tokenGone(r *pipeline.Result) bool {
	deleted := r.Status == pipeline.OK && slices.ContainsFunc(r.Done, func(a pipeline.Action) bool { return a.Op == pipeline.WebDelete })
	return deleted || r.Status == pipeline.NotFound
}

func onTopic(a pipeline.Action) bool {
	return a.Op == pipeline.Subscribe || a.Op == pipeline.Unsubscribe
}
