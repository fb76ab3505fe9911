package iidtest

import (
	"bytes"
	"encoding/json"
	"errors"
)

// batchRequest is what batchAdd and batchRemove are asked.
type batchRequest struct {
	to     string
	tokens [][]byte
}

var errNotJSON = errors.New("request body is not JSON")

// parseBatch reads the body of a batch call; its tokens lie in room, which is
// empty, and share the memory of body. The shape that bulksub and the Admin
// SDKs send is read by scanBatch, everything else takes the slow way.
func parseBatch(body []byte, room [][]byte) (batchRequest, error) {
	if batch, ok := scanBatch(body, room); ok {
		return batch, nil
	}
	return unmarshalBatch(body, room)
}

// unmarshalBatch tolerates unknown fields, any order and any spelling that is
// JSON.
func unmarshalBatch(body []byte, room [][]byte) (batchRequest, error) {
	var fields struct {
		To     string   `json:"to"`
		Tokens []string `json:"registration_tokens"`
	}
	err := unmarshal(body, &fields)
	return batchRequest{to: fields.To, tokens: appendTokens(room, fields.Tokens)}, err
}

// unmarshal is json.Unmarshal, with errNotJSON for what is no JSON at all.
func unmarshal(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return errNotJSON
	}
	return err
}

func appendTokens(room [][]byte, tokens []string) [][]byte {
	for _, token := range tokens {
		room = append(room, []byte(token))
	}
	return room
}

// scanBatch reads {"to":"...","registration_tokens":["...",...]} with or
// without spaces, its strings visible ASCII without escapes. It reports false
// for all else, valid or not.
func scanBatch(body []byte, room [][]byte) (batchRequest, bool) {
	if bytes.IndexByte(body, '\\') >= 0 {
		return batchRequest{}, false
	}
	s := scanner{rest: body}
	s.literal(`{`)
	s.literal(`"to"`)
	s.literal(`:`)
	to := string(s.text())
	s.literal(`,`)
	s.literal(`"registration_tokens"`)
	s.literal(`:`)
	tokens := s.list(room)
	s.literal(`}`)
	return batchRequest{to, tokens}, !s.failed && len(s.rest) == 0
}

// scanner eats JSON from the front of rest until something is not as expected.
type scanner struct {
	rest   []byte
	failed bool
}

func (s *scanner) accept(literal string) bool {
	for len(s.rest) > 0 && s.rest[0] == ' ' {
		s.rest = s.rest[1:]
	}
	if len(s.rest) < len(literal) || string(s.rest[:len(literal)]) != literal {
		return false
	}
	s.rest = s.rest[len(literal):]
	return true
}

func (s *scanner) literal(literal string) {
	if s.failed || !s.accept(literal) {
		s.failed = true
	}
}

func (s *scanner) text() []byte {
	s.literal(`"`)
	end := bytes.IndexByte(s.rest, '"')
	if s.failed || end < 0 || !visible(s.rest[:end]) {
		s.failed = true
		return nil
	}
	text := s.rest[:end]
	s.rest = s.rest[end+1:]
	return text
}

func (s *scanner) list(list [][]byte) [][]byte {
	s.literal(`[`)
	if s.failed || s.accept(`]`) {
		return list
	}
	for !s.failed {
		list = append(list, s.text())
		if s.accept(`]`) {
			break
		}
		s.literal(`,`)
	}
	return list
}
