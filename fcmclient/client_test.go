package fcmclient

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestSubscribeAndUnsubscribe(t *testing.T) {
	service, c := standIn(t, iidtest.Config{})
	id := "cVX1PsXESTyMFDD-KRmPZA" // a bare installation ID
	for range 2 {
		for _, registration := range []string{iidtest.Token(1, 1), id} {
			if err := c.Subscribe(t.Context(), registration, "/topics/news"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := service.Subscribers("news"); !slices.Equal(got, []string{id, iidtest.Token(1, 1)}) && !slices.Equal(got, []string{iidtest.Token(1, 1), id}) {
		t.Errorf("subscribed: %q", got)
	}
	for range 2 {
		if err := c.Unsubscribe(t.Context(), id, "news"); err != nil {
			t.Fatal(err)
		}
	}
	if n := service.Count("news"); n != 1 {
		t.Errorf("%d are subscribed", n)
	}
}

func TestListAndGet(t *testing.T) {
	service, c := standIn(t, iidtest.Config{FCM: iidtest.FCM{Page: 3}})
	token := iidtest.Token(1, 1)
	if list, err := c.List(t.Context(), token); err != nil || len(list.Subscriptions) != 0 || list.Date.IsZero() {
		t.Fatal(list, err)
	}
	var want []string
	for n := range 10 {
		topic := fmt.Sprintf("odd%%2F~%d", n)
		want = append(want, topic)
		if err := c.Subscribe(t.Context(), token, topic); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.List(t.Context(), token)
	var got []string
	for _, s := range list.Subscriptions {
		got = append(got, s.Topic)
		if age := time.Since(s.Created); age < 0 || age > 48*time.Hour {
			t.Errorf("%s was made %v ago", s.Topic, age)
		}
	}
	if err != nil || !slices.Equal(got, want) || len(service.Calls()) < 15 {
		t.Errorf("got %q, %v", got, err)
	}
	if s, found, err := c.Get(t.Context(), token, want[3]); err != nil || !found || s.Topic != want[3] {
		t.Error(s, found, err)
	}
	if s, found, err := c.Get(t.Context(), token, "none"); err != nil || found {
		t.Error(s, found, err)
	}
}

// verdicts are what the fate of a registration makes of each call about it.
var verdicts = map[iidtest.Fate]iidclient.Code{
	iidtest.Dead:         iidclient.CodeNotFound,
	iidtest.Invalid:      iidclient.CodeInvalidArgument,
	iidtest.Poison:       iidclient.CodeInvalidArgument,
	iidtest.OtherProject: iidclient.CodePermissionDenied,
	iidtest.Overloaded:   iidclient.CodeTooManyTopics,
}

func TestRefusalsJudgeTheRegistration(t *testing.T) {
	for fate, want := range verdicts {
		_, c := standIn(t, iidtest.Config{Fates: func(string) iidtest.Fate { return fate }})
		judged, ok := errors.AsType[*iidclient.TokenError](c.Subscribe(t.Context(), "a:b", "news"))
		if !ok || judged.Code != want {
			t.Errorf("%v: got %v, want %s", fate, judged, want)
		}
		if fate == iidtest.Overloaded {
			continue // of interest to those alone that add
		}
		_, err := c.List(t.Context(), "a:b")
		if judged, ok := errors.AsType[*iidclient.TokenError](err); !ok || judged.Code != want {
			t.Errorf("list of %v: got %v, want %s", fate, err, want)
		}
	}
}

// answers are what a reply of the service, status and body, means: the type of the error and
// a part of its text.
var answers = []struct {
	status      int
	contentType string
	body        string
	kind, text  string
}{
	{404, "application/json", `{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}`, "status", "NOT_FOUND"},
	{404, "application/json", `{"error":{"status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}`, "token", "NOT_FOUND"},
	{404, "application/json", `{"error":{"status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"fcm.googleapis.com","reason":"UNREGISTERED"}]}}`, "token", "NOT_FOUND"},
	{404, "application/json", `{"error":{"status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"googleapis.com","reason":"CONSUMER_INVALID"}]}}`, "project", "no such project"},
	{404, "text/html", `<html>Error 404</html>`, "project", "there is no such project, or the API is not there for it"},
	{404, "", ``, "project", "--endpoint"},
	{410, "text/html", `<html>`, "project", "HTTP 410"},
	{403, "text/html", `<html>`, "project", "--credentials"},
	{403, "application/json", `{"error":{"status":"PERMISSION_DENIED"}}`, "token", "PERMISSION_DENIED"},
	{403, "application/json", `{"error":{"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"googleapis.com","reason":"SERVICE_DISABLED"}]}}`, "project", "not enabled"},
	{403, "application/json", `{"error":{"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"x.googleapis.com","reason":"QUITE_NEW"}]}}`, "project", "QUITE_NEW"},
	{400, "text/html", `<html>`, "status", "HTTP 400"},
	{401, "application/json", `{"error":{"status":"UNAUTHENTICATED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"googleapis.com","reason":"ACCESS_TOKEN_EXPIRED"}]}}`, "status", "UNAUTHENTICATED"},
	{429, "application/json", `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.5s"},{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"project:1"}]}]}}`, "status", "retry after 2.5s"},
	{429, "application/json", `{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"-7s"}]}}`, "status", "HTTP 429 Too Many Requests"},
	{429, "application/json", `{"error":{"details":"none"}}`, "status", "HTTP 429"},
	{500, "application/json", `{"error":{"status":"INTERNAL"}}`, "status", "INTERNAL"},
	{503, "text/html", `<html>`, "status", "HTTP 503"},
	{200, "application/json", `{}`, "", ""},
	{200, "application/json", `{"topicName":"news"}`, "", ""},
	{200, "application/json", `{"topic_name":"sport"}`, "reply", "another topic"},
	{200, "application/json", `{"topic_name":"news","topicName":"sport"}`, "reply", "twice"},
	{200, "application/json", `{"topic_name":"sport","topic_name":"news"}`, "reply", "twice"},
	{200, "application/json", "{\"name\":\"\xff\"}", "reply", "JSON"},
	{200, "application/json", `{"error":{"code":500}}`, "reply", "an error"},
	{200, "application/json", `[]`, "reply", "JSON"},
	{200, "application/json", ` null`, "reply", "JSON"},
	{200, "application/json", `{"topic_name":"news"`, "reply", "JSON"},
	{200, "application/json", ``, "reply", "JSON"},
	{200, "text/html", `<html>`, "reply", "web page"},
	{409, "application/json", `{"error":{"status":"ALREADY_EXISTS"}}`, "", ""},
	{409, "application/json", `{"error":{"status":"ABORTED"}}`, "status", "ABORTED"},
	{409, "text/html", `<html>`, "status", "HTTP 409"},
	{503, "application/json", `{"error":{"status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}`, "status", "UNAVAILABLE"},
}

func kindOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.As(err, new(*ProjectError)):
		return "project"
	case errors.As(err, new(*iidclient.TokenError)):
		return "token"
	case errors.As(err, new(*iidclient.StatusError)):
		return "status"
	case errors.As(err, new(*iidclient.ReplyError)):
		return "reply"
	}
	return fmt.Sprintf("%T", err)
}

func TestWhatAnAnswerIsWorth(t *testing.T) {
	for _, a := range answers {
		_, _, c := serveTLS(t, 100, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{a.contentType}
				w.WriteHeader(a.status)
				fmt.Fprint(w, a.body)
			})
		})
		err := c.Subscribe(t.Context(), "a:b", "news")
		if kind := kindOf(err); kind != a.kind || err != nil && !strings.Contains(err.Error(), a.text) {
			t.Errorf("%d %s: got %s %v, want %s %s", a.status, a.body, kind, err, a.kind, a.text)
		}
	}
}

// UNREGISTERED beside another word than NOT_FOUND, or another status than its, contradicts itself: nobody is gone for that.
func TestGoneIsSaidTwice(t *testing.T) {
	for _, said := range []struct {
		status int
		word   string
	}{
		{400, "INVALID_ARGUMENT"}, {403, "PERMISSION_DENIED"}, {404, "PERMISSION_DENIED"}, {410, "ABORTED"},
		{400, "NOT_FOUND"}, {403, "NOT_FOUND"}, {410, "NOT_FOUND"},
	} {
		_, _, c := serveTLS(t, 100, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{"application/json"}
				w.WriteHeader(said.status)
				fmt.Fprintf(w, `{"error":{"status":%q,"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}`, said.word)
			})
		})
		err := c.Subscribe(t.Context(), "a:b", "news")
		if judged, ok := errors.AsType[*iidclient.TokenError](err); err == nil || ok && judged.Code == iidclient.CodeNotFound {
			t.Errorf("%d %s: %v", said.status, said.word, err)
		}
	}
}

func TestListWithoutEndIsRefused(t *testing.T) {
	for tokens, most := range map[int64]int64{2: 3, 1 << 40: mostPages} {
		var pages atomic.Int64
		_, _, c := serveTLS(t, 100, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"topicSubscriptions":[{"topicName":"news"}],"nextPageToken":"%d"}`, pages.Add(1)%tokens)
			})
		})
		if list, err := c.List(t.Context(), "a:b"); kindOf(err) != "reply" || pages.Load() > most {
			t.Error(len(list.Subscriptions), pages.Load(), err)
		}
	}
}

func TestNothingImpossibleIsSent(t *testing.T) {
	service, c := standIn(t, iidtest.Config{})
	long := strings.Repeat("x", 901)
	for _, of := range [][2]string{{"", "news"}, {"..", "news"}, {"a:b", ""}, {"a:b", "a b"}, {"a:b", "private/a"}, {"a:b", ".."}, {"a:b", long}} {
		for _, do := range []func() error{
			func() error { return c.Subscribe(t.Context(), of[0], of[1]) },
			func() error { return c.Unsubscribe(t.Context(), of[0], of[1]) },
			func() error { _, _, err := c.Get(t.Context(), of[0], of[1]); return err },
		} {
			if _, ok := errors.AsType[*iidclient.ArgumentError](do()); !ok {
				t.Errorf("%q of %q is not refused", of[1], of[0])
			}
		}
	}
	if calls := service.Calls(); len(calls) > 0 {
		t.Errorf("%d calls were made", len(calls))
	}
	if err := c.Subscribe(t.Context(), "a:b", long[:900]); err != nil {
		t.Error(err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, project := range []string{"", "My Project", "a/b", "..", "ä"} {
		if _, err := New(Config{Project: project, Credential: &iidclient.OAuth{}}); err == nil || !strings.HasPrefix(err.Error(), "project: ") {
			t.Errorf("%q: %v", project, err)
		}
	}
	if _, err := New(Config{Project: "p", Credential: &iidclient.OAuth{}, Concurrency: 1025}); err == nil {
		t.Error("1025 callers are taken")
	}
	c := open(t, "http://127.0.0.1:1", &iidclient.ServerKey{})
	if err := c.Subscribe(t.Context(), "a:b", "news"); !strings.Contains(fmt.Sprint(err), "access token, not a server key") {
		t.Error(err)
	}
}
