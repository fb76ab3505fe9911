package iidclient

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"time"
)

// newStatusError reads the body of a refused call: a string, an object, a page or
// text, in this order.
func newStatusError(res *http.Response, body []byte, now time.Time) *StatusError {
	e := &StatusError{
		Status:     res.StatusCode,
		RetryAfter: parseRetryAfter(res.Header.Get("Retry-After"), now),
	}
	e.Date, _ = http.ParseTime(res.Header.Get("Date"))
	e.Body, e.Code = errorBody(res.Header, body)
	return e
}

// tokenVerdicts is what a refusal of a call with a token in its path says of it.
var tokenVerdicts = map[int]Code{
	http.StatusBadRequest: CodeInvalidArgument,
	http.StatusForbidden:  CodePermissionDenied,
	http.StatusNotFound:   CodeNotFound,
}

// pushVerdicts is what a refusal of a call without a token says of the push
// subscription that it brings. There is nothing that a 404 could be about but the
// path.
var pushVerdicts = map[int]Code{
	http.StatusBadRequest: CodeInvalidArgument,
	http.StatusForbidden:  CodePermissionDenied,
}

// judge makes a TokenError of a refusal that says something of a token: only the
// service itself, which writes JSON, can.
func judge(verdicts map[int]Code) func(*StatusError, []byte) error {
	return func(e *StatusError, _ []byte) error {
		code, judged := verdicts[e.Status]
		if !judged || e.Body != BodyString && e.Body != BodyObject {
			return e
		}
		if Code(e.Code) == CodeTooManyTopics {
			code = CodeTooManyTopics
		}
		return &TokenError{Code: code, Answer: e}
	}
}

func errorBody(h http.Header, body []byte) (BodyKind, string) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return BodyEmpty, ""
	case isHTML(h) || body[0] == '<':
		return BodyHTML, ""
	}
	var reply struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &reply) == nil {
		if kind, word, ok := errorField(reply.Error); ok {
			return kind, cleanText(word)
		}
	}
	return BodyText, cleanText(string(body))
}

func errorField(raw json.RawMessage) (BodyKind, string, bool) {
	var word string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &word) == nil {
		return BodyString, word, true
	}
	var object struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	if len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &object) == nil {
		if object.Status == "" {
			return BodyObject, object.Message, true
		}
		return BodyObject, object.Status, true
	}
	return BodyEmpty, "", false
}

func isHTML(h http.Header) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "text/html" || kind == "application/xhtml+xml"
}
