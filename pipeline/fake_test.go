package pipeline_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

// service is a stand-in for the service with a memory: who is subscribed to
// what, how often a token was tried, and which calls came when. An import gives the
// token a registration token.
type service struct {
	limit   int           // tokens in a call; 1,000
	latency time.Duration // of every call
	fate    func(token string, a pipeline.Action) fate
	// trouble, unless it returns nil, takes the nth call, the first being 1.
	trouble func(n int, a pipeline.Action, tokens []string) error

	mu        sync.Mutex
	topics    map[string]map[string]bool
	tries     map[try]int
	calls     []call
	under     map[string]int // calls under way, by token
	atOnce    map[string]int // the most of them
	callsNow  int
	callsMost int
}

// fate is what the service makes of a token: ok after so many tries that get
// the outcome, or never if tries is 0.
type fate struct {
	outcome pipeline.Outcome
	tries   int
	poison  bool // every call with the token is refused
}

type try struct {
	token  string
	action pipeline.Action
}

type call struct {
	at     time.Time
	action pipeline.Action
	tokens []string
}

var (
	live      = fate{outcome: pipeline.Outcome{Status: pipeline.OK}}
	gone      = fate{outcome: pipeline.Outcome{Status: pipeline.NotFound, Code: "NOT_FOUND"}}
	bad       = fate{outcome: pipeline.Outcome{Status: pipeline.Invalid, Code: "INVALID_ARGUMENT"}}
	denied    = fate{outcome: pipeline.Outcome{Status: pipeline.Denied, Code: "PERMISSION_DENIED"}}
	poisonous = fate{poison: true}
)

func transient(code string, tries int) fate {
	return fate{outcome: pipeline.Outcome{Status: pipeline.Failed, Code: code, Again: true}, tries: tries}
}

func exhausted(tries int) fate {
	f := transient("RESOURCE_EXHAUSTED", tries)
	f.outcome.Exhausted = true
	return f
}

func callError(kind pipeline.CallKind, after time.Duration) error {
	return &pipeline.CallError{Kind: kind, After: after, Code: "CODE", Err: errors.New("no verdict")}
}

// everyone gives all tokens the same fate.
func everyone(f fate) func(string, pipeline.Action) fate {
	return func(string, pipeline.Action) fate { return f }
}

// some gives a few tokens a fate of their own.
func some(fates map[string]fate) func(string, pipeline.Action) fate {
	return func(token string, _ pipeline.Action) fate {
		if f, ok := fates[token]; ok {
			return f
		}
		return live
	}
}

// appliedError is a call that is carried out and whose reply is lost.
type appliedError struct{ error }

func (s *service) Limit(pipeline.Action) int {
	if s.limit == 0 {
		return 1000
	}
	return s.limit
}

func (s *service) Call(ctx context.Context, a pipeline.Action, tokens []string) ([]pipeline.Outcome, error) {
	n := s.begin(a, tokens)
	defer s.end(tokens)
	if err := pause(ctx, s.latency); err != nil {
		return nil, err
	}
	if s.trouble != nil {
		if err := s.trouble(n, a, tokens); err != nil {
			if lost, ok := errors.AsType[appliedError](err); ok {
				_, _ = s.judge(a, tokens)
				return nil, lost.error
			}
			return nil, err
		}
	}
	return s.judge(a, tokens)
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 { // Go 1.26's runtime can crash on a timer that is due at once, in a bubble, with -race
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *service) begin(a pipeline.Action, tokens []string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under == nil {
		s.under, s.atOnce, s.tries = map[string]int{}, map[string]int{}, map[try]int{}
		s.topics = map[string]map[string]bool{}
	}
	s.calls = append(s.calls, call{time.Now(), a, slices.Clone(tokens)})
	s.callsNow++
	s.callsMost = max(s.callsMost, s.callsNow)
	for _, token := range tokens {
		s.under[token]++
		s.atOnce[token] = max(s.atOnce[token], s.under[token])
	}
	return len(s.calls)
}

func (s *service) end(tokens []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.callsNow--
	for _, token := range tokens {
		s.under[token]--
	}
}

func (s *service) judge(a pipeline.Action, tokens []string) ([]pipeline.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	outcomes := make([]pipeline.Outcome, len(tokens))
	for _, token := range tokens {
		if s.fateOf(token, a).poison {
			return nil, &pipeline.CallError{Kind: pipeline.Refused, Code: "INVALID_ARGUMENT", Err: errors.New("refused")}
		}
	}
	for i, token := range tokens {
		outcomes[i] = s.judgeOne(a, token)
	}
	return outcomes, nil
}

func (s *service) fateOf(token string, a pipeline.Action) fate {
	if s.fate == nil {
		return live
	}
	return s.fate(token, a)
}

func (s *service) judgeOne(a pipeline.Action, token string) pipeline.Outcome {
	f, key := s.fateOf(token, a), try{token, a}
	if f.outcome.Again && f.tries > 0 {
		if s.tries[key]++; s.tries[key] > f.tries {
			f = live
		}
	}
	if f.outcome.Status == pipeline.OK {
		s.apply(a, token)
	}
	if f.outcome.Status == pipeline.OK && a.Op == pipeline.Import {
		f.outcome.RegistrationToken = "fcm-" + token
	}
	return f.outcome
}

func (s *service) apply(a pipeline.Action, token string) {
	if s.topics[a.Topic] == nil {
		s.topics[a.Topic] = map[string]bool{}
	}
	if a.Op == pipeline.Subscribe {
		s.topics[a.Topic][token] = true
	} else {
		delete(s.topics[a.Topic], token)
	}
}

// subscribers are the tokens of a topic, sorted.
func (s *service) subscribers(topic string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.topics[topic]))
}

// sizes are the numbers of tokens in the calls.
func (s *service) sizes() []int {
	var sizes []int
	for _, c := range s.calls {
		sizes = append(sizes, len(c.tokens))
	}
	return sizes
}

// between is how many calls came from one time after start to another.
func (s *service) between(start time.Time, from, to time.Duration) int {
	n := 0
	for _, c := range s.calls {
		if at := c.at.Sub(start); at >= from && at < to {
			n++
		}
	}
	return n
}

// busiest is the most token operations in any one-second window.
func (s *service) busiest() int {
	most, sum, from := 0, 0, 0
	for _, c := range s.calls {
		sum += len(c.tokens)
		for c.at.Sub(s.calls[from].at) >= time.Second {
			sum -= len(s.calls[from].tokens)
			from++
		}
		most = max(most, sum)
	}
	return most
}
