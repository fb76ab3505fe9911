package iidclient

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decodeResults reads the reply of batchAdd and batchRemove:
//
//	{"results":[{},{"error":"NOT_FOUND"},…]}
//
// with exactly want elements. It is a positive list: what is not exactly this,
// white space apart, is a [*ReplyError], and no code of it is returned. A list
// that is merely valid JSON is not enough, because the position is all that ties
// a result to its token.
func decodeResults(body []byte, want int) ([]Code, error) {
	s := scanner{text: body}
	codes := make([]Code, 0, want)
	err := s.results(want, func() error {
		code, err := s.element()
		codes = append(codes, code)
		return err
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// decodeEmpty reads the reply of a single relation, the empty object.
func decodeEmpty(body []byte) error {
	s := scanner{text: body}
	if !s.take('{') || !s.take('}') || !s.atEnd() {
		return s.unexpected("an empty object")
	}
	return nil
}

// scanner walks over a reply. A method that returns false has not moved beyond
// the place that it did not like.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) skipSpace() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) take(c byte) bool {
	s.skipSpace()
	if s.at >= len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

// key takes a quoted key and its colon.
func (s *scanner) key(quoted string) bool {
	s.skipSpace()
	rest := s.text[s.at:]
	if len(rest) < len(quoted) || string(rest[:len(quoted)]) != quoted {
		return false
	}
	s.at += len(quoted)
	return s.take(':')
}

func (s *scanner) atEnd() bool {
	s.skipSpace()
	return s.at == len(s.text)
}

// results takes {"results":[…]} and the end of the reply, with exactly want
// elements, each of which is taken by element.
func (s *scanner) results(want int, element func() error) error {
	if !s.take('{') || !s.key(`"results"`) || !s.take('[') {
		return s.opening("{\"results\":[")
	}
	count := 0
	for more := !s.take(']'); more; count++ {
		if count == want {
			return &ReplyError{Reason: fmt.Sprintf("more than %d results for %d tokens", want, want)}
		}
		if err := element(); err != nil {
			return err
		}
		if more = s.take(','); !more && !s.take(']') {
			return s.unexpected("a comma or the end of the results")
		}
	}
	if !s.take('}') || !s.atEnd() {
		return s.unexpected("the end of the reply after the results")
	}
	if count != want {
		return &ReplyError{Reason: fmt.Sprintf("%d results for %d tokens", count, want)}
	}
	return nil
}

// element takes {} or {"error":"CODE"}.
func (s *scanner) element() (Code, error) {
	if !s.take('{') {
		return "", s.unexpected("a result object")
	}
	if s.take('}') {
		return CodeOK, nil
	}
	if !s.key(`"error"`) {
		return "", s.unexpected("the key \"error\" and nothing else in a result")
	}
	code, err := s.code()
	if err != nil {
		return "", err
	}
	if !s.take('}') {
		return "", s.unexpected("the end of a result after its error")
	}
	return code, nil
}

// code takes a string that can be a code. The empty string is refused: it would
// read as success.
func (s *scanner) code() (Code, error) {
	word, err := s.word()
	switch {
	case err != nil:
		return "", err
	case len(word) == 0:
		return "", s.unexpected("a code that is not empty")
	}
	return internCode(word), nil
}

// word takes a string of printable characters. It is good until the reply's buffer
// serves another.
func (s *scanner) word() ([]byte, error) {
	if !s.take('"') {
		return nil, s.unexpected("a string")
	}
	start := s.at
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start : s.at-1], nil
		case c == '\\' || c >= utf8.RuneSelf:
			return s.rareWord(start)
		case c < ' ' || c == 0x7f:
			return nil, s.unexpected("no control character in a string")
		}
	}
	return nil, s.unexpected("the end of a string")
}

// rareWord takes a string with escapes or characters beyond ASCII, from its first
// character on.
func (s *scanner) rareWord(start int) ([]byte, error) {
	for s.at < len(s.text) && s.text[s.at] != '"' {
		if s.text[s.at] == '\\' {
			s.at++
		}
		s.at++
	}
	if s.at >= len(s.text) {
		s.at = len(s.text)
		return nil, s.unexpected("the end of a string")
	}
	s.at++
	quoted := s.text[start-1 : s.at]
	var word string
	if json.Unmarshal(quoted, &word) != nil {
		return nil, s.unexpected("a valid string")
	}
	// Invalid UTF-8 and lone surrogates decode to U+FFFD, which is no longer the
	// service's word.
	if strings.ContainsRune(word, utf8.RuneError) || strings.ContainsFunc(word, unicode.IsControl) {
		return nil, s.unexpected("only printable characters in a string")
	}
	return []byte(word), nil
}

// opening is the error of a reply that is from the start not what was wanted; it
// names the three that operators meet.
func (s *scanner) opening(wanted string) error {
	first := scanner{text: s.text}
	switch {
	case first.atEnd():
		return &ReplyError{Reason: "the body is empty"}
	case first.take('<'):
		return &ReplyError{Reason: "a web page instead of JSON"}
	case first.take('{') && first.key(`"error"`):
		return &ReplyError{Reason: "an error without results"}
	}
	return s.unexpected(wanted)
}

func (s *scanner) unexpected(wanted string) error {
	return &ReplyError{Reason: fmt.Sprintf("expected %s at byte %d of %d", wanted, s.at, len(s.text))}
}
