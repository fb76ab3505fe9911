package iidclient

import (
	"fmt"
	"net/http"
	"time"
)

// ArgumentError is a call that was refused before it was made: nothing was sent.
type ArgumentError struct {
	Name    string // the argument, such as "topic" or "tokens"
	Problem string // what is wrong and what is allowed; holds no token
}

func (e *ArgumentError) Error() string { return e.Name + ": " + e.Problem }

// BodyKind is the shape of the body of a refused call. The service answers with
// a string, its web part with an object, the front end before it with a page.
type BodyKind int

const (
	BodyEmpty  BodyKind = iota
	BodyString          // {"error":"CODE or text"}
	BodyObject          // {"error":{"code":…,"message":…,"status":…}}
	BodyHTML
	BodyText
)

// StatusError is a complete reply with a status other than 200. It is a verdict on
// the call; only inside a [*TokenError] is it one on a token.
type StatusError struct {
	Status int
	Body   BodyKind
	// Code is the service's own word: the string of a BodyString, the status
	// (else the message) of a BodyObject, the text of a BodyText, and empty
	// for the rest. It is at most 200 bytes long, without control characters,
	// and anything in it as long as a token is shortened.
	Code string
	// RetryAfter is what the service asked for, zero for nothing. It is not
	// capped: ten years come out as ten years.
	RetryAfter time.Duration
	// Date is the service's clock when it answered, to the second; zero if it
	// did not say.
	Date time.Time
	// Refreshed is set on a 401 after which a new access token is worth one more
	// call: the refused one was thrown away. A 401 without it is final.
	Refreshed bool
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("HTTP %d %s", e.Status, http.StatusText(e.Status))
	switch {
	case e.Code != "":
		text += ": " + e.Code
	case e.Body == BodyHTML:
		text += ", with a web page instead of JSON"
	}
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(", retry after %s", e.RetryAfter)
	}
	return text
}

// TokenError is a refused call about one token that judges the token: in JSON, with
// status 404 (it is gone), 400 (it cannot be read) or 403 (it belongs to another
// project). The reference uses 404 for a wrong path too, so that these statuses
// with a web page or without a body are no verdict but a [*StatusError] alone. A
// call about a batch never returns a TokenError.
type TokenError struct {
	// Code is CodeNotFound, CodeInvalidArgument, CodePermissionDenied or
	// CodeTooManyTopics.
	Code Code
	// Answer is what the service said.
	Answer *StatusError
}

func (e *TokenError) Error() string { return e.Answer.Error() }

// Unwrap returns the Answer.
func (e *TokenError) Unwrap() error { return e.Answer }

// ReplyError is a reply with status 200 that is not complete and well-formed: a
// short or long list, an unknown shape, trailing data, a web page, too many
// bytes. Nothing may be concluded from it about any token.
type ReplyError struct {
	Reason string
}

func (e *ReplyError) Error() string {
	return "HTTP 200 with a reply that cannot be trusted: " + e.Reason
}

// TransportError is a call without a complete reply: a timeout, a reset, a body
// cut short, a cancelled context. The service may or may not have done its work;
// repeating the call is safe, since subscriptions are a set.
//
// Err is the cause and satisfies [errors.Is] for [context.Canceled] and
// [context.DeadlineExceeded]. It never holds the path of the request.
type TransportError struct {
	Err error
}

func (e *TransportError) Error() string { return "no complete reply: " + cleanText(e.Err.Error()) }

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// CredentialError is a credential that cannot be loaded, or that gave no access
// token. The call it was for was not made.
type CredentialError struct {
	// Final is set when trying again cannot help: an unreadable file or key, or
	// a token endpoint that answered 3xx or 4xx (408 and 429 apart). Without it
	// the token endpoint was out of reach or in trouble.
	Final bool
	// Status is the token endpoint's HTTP status, zero without an answer.
	Status int
	// Reason says what is wrong, where, and what to do; it holds no secret.
	Reason string
	// Err is a cause that callers may test for, such as [context.Canceled] or
	// [io/fs.ErrNotExist]; nil for the rest.
	Err error
}

func (e *CredentialError) Error() string { return "credential: " + e.Reason }

// Unwrap returns the cause, nil if there is none.
func (e *CredentialError) Unwrap() error { return e.Err }
