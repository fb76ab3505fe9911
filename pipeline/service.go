package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Service makes the calls. It is used by many goroutines at once.
type Service interface {
	// Limit is the largest number of tokens that one call for the action may
	// carry.
	Limit(Action) int
	// Call does the action for the tokens, which are distinct, in one request,
	// and returns one outcome for each, in their order. The list of tokens is the caller's again once
	// Call has returned. Nobody writes to the outcomes, so that calls may share them. An error is a
	// [*CallError] and says nothing about any token.
	Call(ctx context.Context, a Action, tokens []string) ([]Outcome, error)
}

// Outcome is the service's verdict on one token.
type Outcome struct {
	Status Status // what the row ends as, unless it is asked again
	Code   string // the service's own word
	// Again: the verdict may change; ask again while attempts are left.
	Again bool
	// Exhausted: the token was turned away for quota.
	Exhausted bool
	// RegistrationToken, if any, takes the row's further actions.
	RegistrationToken string
	Detail            string // JSON, or empty
}

// CallKind says what a call without verdicts means for the job.
type CallKind int

const (
	// Fatal: no call of this kind will ever succeed. The job stops.
	Fatal CallKind = iota
	// Unavailable: no reply, or none that can be used. The batch is repeated.
	Unavailable
	// Throttled: the call was turned away for quota. All workers slow down, and
	// the batch is repeated.
	Throttled
	// Refused: the service will not take this batch; something in it is at
	// fault. The batch is split until the culprit stands alone.
	Refused
)

// CallError is a call that brought no verdict on any token.
type CallError struct {
	Kind  CallKind
	After time.Duration // what the service asked to wait; 0 if it did not
	Code  string        // the service's own word, if it had one
	// Answered: the service, and nothing on the way to it, failed on this very call,
	// as far as can be told; a call of one token that always fails so is that token's
	// fault.
	Answered bool
	// Lingers: no answer came, or something on the way gave it. The service may yet carry
	// the call out, even after the next one.
	Lingers bool
	Err     error
}

func (e *CallError) Error() string { return e.Err.Error() }
func (e *CallError) Unwrap() error { return e.Err }

// callError is what a failed call says. An error that is no CallError is fatal: whoever
// made it did not know what it means.
func callError(err error) *CallError {
	if said, ok := errors.AsType[*CallError](err); ok {
		return said
	}
	return &CallError{Kind: Fatal, Err: err}
}

// UnavailableError says that the service did not answer, or failed on every call. What
// was recorded is safe; the same job run again goes on.
type UnavailableError struct {
	Err   error // of the last call
	Alike bool  // the service has answered every call since the first failure with the same word
}

func (e *UnavailableError) Error() string {
	what := "does not answer"
	if e.Alike {
		what = "fails on every call"
	}
	return fmt.Sprintf("the service %s; what is recorded is safe, run the job again to continue: %v", what, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }
