package iidtest

import (
	"mime"
	"net/http"
	"strings"
)

const (
	textNoJSONType = "Content-Type must be application/json."
	textNoJSON     = "Request body is not valid JSON."
)

// readBatch understands batchAdd and batchRemove.
func readBatch(q *request, _ pathVars) *Answer {
	if !isJSON(q.http.Header.Get("Content-Type")) {
		return badRequest(textNoJSONType)
	}
	batch, err := parseBatch(q.body.Bytes(), q.tokens)
	if err == errNotJSON {
		return badRequest(textNoJSON)
	}
	name, isTopic := strings.CutPrefix(batch.to, topicPrefix)
	q.topic, q.tokens = name, batch.tokens
	if err != nil || !isTopic || !validTopic(name) || len(q.tokens) == 0 || len(q.tokens) > MaxBatch {
		return badRequest(CodeInvalidArgument)
	}
	return nil
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

func serveBatch(op operation) func(*Server, *request) Answer {
	return func(s *Server, q *request) Answer {
		codes, refusal := s.apply(op, q)
		if refusal != nil {
			return *refusal
		}
		return results(codes)
	}
}

// apply is what all subscription endpoints share: fates, quota, state. It
// returns one code per token, or the refusal of the whole call.
func (s *Server) apply(op operation, q *request) ([]string, *Answer) {
	list := s.state.identify(q.tokens)
	fates, refusal := s.admit(list)
	if refusal != nil {
		return nil, refusal
	}
	c := change{op: op, topic: q.topic, day: dayOf(q.arrived)}
	return s.state.apply(c, list, fates), nil
}

// admit is what all endpoints share: it returns the fate of each device after
// the quota, or the refusal of the whole call.
func (s *Server) admit(list []*device) ([]Fate, *Answer) {
	fates, poisoned := s.judge(list)
	if poisoned {
		return nil, badRequest(CodeInvalidArgument)
	}
	granted, ok := s.quota.take(len(list), s.config.Now())
	if !ok {
		return nil, s.config.Quota.refusal()
	}
	for i := granted; i < len(fates); i++ {
		fates[i] = Fate{Code: CodeResourceExhausted}
	}
	return fates, nil
}

// try is admit for an endpoint that asks about one token and touches no
// subscription; it returns the code of that token.
func (s *Server) try(list []*device) (string, *Answer) {
	fates, refusal := s.admit(list)
	if refusal != nil {
		return "", refusal
	}
	return s.state.try(list[0], fates[0]), nil
}

func (s *Server) judge(list []*device) (fates []Fate, poisoned bool) {
	fates = make([]Fate, len(list))
	for i, d := range list {
		fates[i] = Invalid
		if d != nil {
			fates[i] = s.config.Fates(d.token)
		}
		poisoned = poisoned || fates[i].Poison
	}
	return fates, poisoned
}

func badRequest(text string) *Answer {
	a := jsonError(http.StatusBadRequest, text)
	return &a
}
