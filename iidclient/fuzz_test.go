package iidclient

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// Whatever a refusal holds, what is kept of it is short, legible and no token, and it judges a token only in JSON with a
// status that can.
func FuzzErrorBody(f *testing.F) {
	for _, body := range []string{`{"error":"InvalidToken"}`, `{"error":{"code":404,"status":"NOT_FOUND","message":"x"}}`, `<html>`, ``, `null`, `{"error":5}`, "\xff", `{"error":"TOO_MANY_TOPICS"}`} {
		f.Add(404, "application/json", body)
	}
	f.Fuzz(func(t *testing.T, status int, mediaType, body string) {
		res := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {mediaType}}}
		e := newStatusError(res, []byte(body), time.Unix(0, 0))
		if len(e.Code) > 200 || !utf8.ValidString(e.Code) || strings.ContainsFunc(e.Code, unicode.IsControl) {
			t.Errorf("%q is kept as %q", body, e.Code)
		}
		judged, ok := judge(tokenVerdicts)(e, []byte(body)).(*TokenError)
		if ok && (e.Body != BodyString && e.Body != BodyObject || status != 400 && status != 403 && status != 404) {
			t.Errorf("%d %q judges: %v", status, body, judged)
		}
	})
}

// A topic that is accepted is one for the service too, with or without its prefix, and goes into a path as one word.
func FuzzCheckTopic(f *testing.F) {
	for _, seed := range []string{"news", "/topics/news", "private/a", "/topics/private/a%2Fb", "", "a b", "\xff", strings.Repeat("a", 901)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		name, err := CheckTopic(topic)
		if err != nil {
			return
		}
		again, err := CheckTopic(topicPrefix + name)
		if err != nil || again != name || len(name) > maxTopic || strings.ContainsAny(strings.TrimPrefix(name, privatePrefix), "/?#& ") {
			t.Errorf("%q is %q and %q, %v", topic, name, again, err)
		}
	})
}
