package sink

import "github.com/bulksub/bulksub/pipeline"

// size is what results take in their record; room is left for the rest, of which attempts that differ are most.
type size struct {
	lists         int // keys and tokens
	details       int
	topics, codes sharedSize
	given         sharedSize // registration tokens
}

// with is the size with another result.
func (s size) with(r *pipeline.Result) size {
	s.lists += len(r.Key) + len(r.Token) + 2*len(separator)
	if r.Detail != "" {
		s.details += element(r.Detail)
	}
	s.topics, s.codes, s.given = s.topics.with(r.Topic), s.codes.with(r.Code), s.given.with(r.RegistrationToken)
	return s
}

func (s size) bytes() int {
	return s.lists + s.details + s.topics.bytes() + s.codes.bytes() + s.given.bytes()
}

// sharedSize is what an array takes that has one element if all its texts are the same, and is null if they are empty.
type sharedSize struct {
	first  string
	differ bool
	all    int
}

func (s sharedSize) with(text string) sharedSize {
	if s.all == 0 {
		s.first = text
	}
	s.differ = s.differ || text != s.first
	s.all += element(text)
	return s
}

func (s sharedSize) bytes() int {
	switch {
	case s.differ:
		return s.all
	case s.first == "":
		return 0
	}
	return element(s.first)
}

// element is what a text takes in an array: with its length, it begins at a multiple of four.
func element(text string) int { return 4 + len(text) + 3 }
