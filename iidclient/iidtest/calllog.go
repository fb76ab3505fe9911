package iidtest

import (
	"slices"
	"sync"
	"time"
)

// maxCalls bounds the call log: at 1,000 tokens a call it is 100 million.
const maxCalls = 100_000

// Call is one line of the call log.
type Call struct {
	// Number counts calls from 1, in the order in which they were read.
	Number int `json:"number"`
	// Time is when the call arrived.
	Time time.Time `json:"time"`
	// Endpoint is "batchAdd", "batchRemove", "batchImport", "relation", "info",
	// "webImport", "webRefresh", "webDelete", "fcmCreate", "fcmDelete", "fcmGet",
	// "fcmPatch", "fcmList" or "token"; empty for a path or method that there is not.
	Endpoint string `json:"endpoint"`
	Topic    string `json:"topic,omitempty"`
	// Tokens is how many tokens were sent, whatever became of them.
	Tokens int `json:"tokens"`
	// Status is the HTTP status of the answer; 0 while there is none.
	Status int `json:"status"`
	// Fault is the name of the fault that struck, if any.
	Fault string `json:"fault,omitempty"`
}

// Calls are the calls so far, refused and struck ones included, by number.
// When there are more than 100,000 the older half is forgotten.
func (s *Server) Calls() []Call { return s.calls.list() }

// Ops is the number of tokens in all calls so far, forgotten ones included.
func (s *Server) Ops() int { return s.calls.ops() }

// PeakOps is the largest number of tokens that arrived within any window of
// that length (which includes its beginning and excludes its end), over the
// calls that Calls lists.
func (s *Server) PeakOps(window time.Duration) int { return peakOps(s.calls.list(), window) }

type callLog struct {
	mu     sync.Mutex
	calls  []Call
	number int
	tokens int
}

func (l *callLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls, l.tokens = nil, 0
}

func (l *callLog) add(call Call) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) == maxCalls {
		l.calls = slices.Clone(l.calls[maxCalls/2:])
	}
	l.number++
	l.tokens += call.Tokens
	call.Number = l.number
	l.calls = append(l.calls, call)
	return call.Number
}

// settle sets the status of a call. One that was forgotten meanwhile is
// returned with its number and status only.
func (l *callLog) settle(number, status int) Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := len(l.calls) - 1 - (l.number - number)
	if at < 0 {
		return Call{Number: number, Status: status}
	}
	l.calls[at].Status = status
	return l.calls[at]
}

func (l *callLog) list() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

func (l *callLog) ops() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tokens
}

func peakOps(calls []Call, window time.Duration) int {
	slices.SortFunc(calls, func(a, b Call) int { return a.Time.Compare(b.Time) })
	peak, ops, first := 0, 0, 0
	for _, call := range calls {
		ops += call.Tokens
		for call.Time.Sub(calls[first].Time) >= window {
			ops -= calls[first].Tokens
			first++
		}
		peak = max(peak, ops)
	}
	return peak
}
