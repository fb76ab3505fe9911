package iidtest

import (
	"net/http"
	"strings"
)

// Server is a stand-in for the Instance ID service: an http.Handler with a
// memory. All its methods may be called at any time from any goroutine.
type Server struct {
	config Config
	state  *state
	calls  *callLog
	faults *faultPlans
	quota  *bucket
	issuer *issuer
	admin  http.Handler
}

var _ http.Handler = (*Server)(nil)

// New returns a stand-in that remembers nothing yet. Start is the shorter way
// to one that listens.
func New(config Config) *Server {
	config = config.withDefaults()
	s := &Server{
		config: config,
		state:  newState(config.TopicCap),
		calls:  &callLog{},
		faults: &faultPlans{},
		quota:  newBucket(config.Quota, config.Now()),
		issuer: newIssuer(config.TokenLife),
	}
	s.admin = s.adminRoutes()
	s.SetFaults(config.Faults...)
	return s
}

// Reset forgets subscriptions, imports, push subscriptions, tries and calls,
// counts faults from zero and fills the quota. Plans, credentials and access
// tokens stay.
func (s *Server) Reset() {
	s.state.reset()
	s.calls.reset()
	s.faults.restart()
	s.quota.refill(s.config.Now())
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, adminRoot) {
		s.admin.ServeHTTP(w, r)
		return
	}
	q := requests.Get().(*request)
	defer q.release()
	s.receive(w, r, q)
	fault := s.faults.strike(r.URL.Path)
	q.number = s.calls.add(Call{
		Time: q.arrived, Endpoint: q.route.name, Topic: q.topic,
		Tokens: len(q.tokens), Fault: fault.Name,
	})
	gate := &gate{ResponseWriter: w, pass: func(status int) { s.settle(q.number, status) }}
	defer gate.open(0)
	fault.Serve(gate, r, func() Answer { return s.answer(q) })
}

// settle notes how a call is about to be answered; 0 is no answer.
func (s *Server) settle(number, status int) {
	call := s.calls.settle(number, status)
	if s.config.OnCall != nil {
		s.config.OnCall(call)
	}
}

func (s *Server) answer(q *request) Answer {
	if q.route.guard != nil {
		if refusal := q.route.guard(s, q.http); refusal != nil {
			return *refusal
		}
	}
	if q.refusal != nil {
		return *q.refusal
	}
	if err := s.config.Latency.wait(q.http.Context(), q.number); err != nil {
		panic(http.ErrAbortHandler)
	}
	return q.route.serve(s, q)
}
