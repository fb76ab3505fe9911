package sink

import "github.com/bulksub/bulksub/pipeline"

// size is what results take in their record; room is left for the rest, of which attempts that differ are most.
type size struct {
	lists         int // keys and tokens
	details       int
	topics, codes sharedSize
	given         sharedSize // registration tokens
}

// with is the size with another result, which has the fate of the one before it or not.
func (s size) with(r *pipeline.Result, alike bool) size {
	s.lists += len(r.Key) + len(r.Token) + 2*len(separator)
	if r.Detail != "" {
		s.details += element(r.Detail)
	}
	s.topics.add(r.Topic, alike)
	s.codes.add(r.Code, alike)
	s.given.add(r.RegistrationToken, alike)
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

// add adds a text, which is known to be like the one before or not.
func (s *sharedSize) add(text string, alike bool) {
	if s.all == 0 {
		s.first = text
	}
	s.differ = s.differ || !alike && text != s.first
	s.all += element(text)
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
