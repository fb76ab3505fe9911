package iidtest

import (
	"bytes"
	"errors"
	"net/http"
	"sync"
	"time"
)

// maxBody lets through the largest batch there can be, escapes included.
const maxBody = 8 << 20

// request is a call as far as it was understood. The tokens lie in body, which
// serves the next call when this one has ended.
type request struct {
	http    *http.Request
	arrived time.Time
	number  int
	route   route
	body    bytes.Buffer
	project string
	topic   string
	app     App
	push    PushSubscription
	tokens  [][]byte
	refusal *Answer
}

var requests = sync.Pool{New: func() any { return new(request) }}

func (q *request) release() {
	body, tokens := q.body, q.tokens
	body.Reset()
	*q = request{body: body, tokens: tokens[:0]}
	requests.Put(q)
}

// receive reads all of a call before anything is decided, so that the log
// knows its size whatever a fault makes of it.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, q *request) {
	q.http, q.arrived = r, s.config.Now()
	var vars pathVars
	q.route, vars, q.refusal = findRoute(r)
	_, err := q.body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case q.refusal != nil:
	case err != nil:
		q.refusal = bodyRefusal(err)
	default:
		q.project = vars.project
		q.refusal = q.route.read(q, vars)
	}
}

func bodyRefusal(err error) *Answer {
	refusal := jsonError(http.StatusBadRequest, CodeInvalidArgument)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		refusal = htmlError(http.StatusRequestEntityTooLarge)
	}
	return &refusal
}
