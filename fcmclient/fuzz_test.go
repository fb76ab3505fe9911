package fcmclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bulksub/bulksub/iidclient"
)

// bearer authorizes whatever it is asked to.
type bearer struct{}

func (bearer) Authorize(_ context.Context, header http.Header) (iidclient.Report, error) {
	header.Set("Authorization", "Bearer x")
	return func(int) bool { return false }, nil
}

func (bearer) PlainHTTP() bool { return true }

// reply is a service that has one answer, whatever it is asked.
type reply struct {
	status    int
	mediaType string
	body      []byte
}

func (r reply) RoundTrip(*http.Request) (*http.Response, error) {
	header := http.Header{"Content-Type": {r.mediaType}}
	return &http.Response{StatusCode: r.status, Header: header, Body: io.NopCloser(bytes.NewReader(r.body))}, nil
}

func (reply) CloseIdleConnections() {}

// client is one of that service.
func (r reply) client(t *testing.T) *Client {
	api, err := iidclient.New(iidclient.Config{Endpoint: "http://127.0.0.1:1", Credential: bearer{}, Transport: r})
	if err != nil {
		t.Fatal(err)
	}
	return &Client{api: api, project: "p"}
}

// members are those of a JSON object whose name is one of some, in any case, as encoding/json reads them. An object
// that has a name twice has the last.
func members(object any, names ...string) (values []any) {
	fields, _ := object.(map[string]any)
	for name, value := range fields {
		for _, wanted := range names {
			if strings.EqualFold(name, wanted) {
				values = append(values, value)
			}
		}
	}
	return values
}

// plain is an answer that says no more of a subscription than that: without an error, and with each name once.
func plain(t *testing.T, body []byte) any {
	var object any
	if err := json.Unmarshal(body, &object); err != nil || !utf8.Valid(body) {
		t.Fatalf("believed what is no JSON in UTF-8: %v", err)
	}
	if _, ok := object.(map[string]any); !ok || len(members(object, "error")) > 0 {
		t.Fatal("believed what is no object, or an error")
	}
	return object
}

// topics are those that an object names.
func topics(object any) (names []any) { return members(object, "topic_name", "topicName") }

// The answer to a subscription that is believed contradicts neither the call nor itself.
func FuzzDecodeSubscribed(f *testing.F) {
	for _, a := range answers {
		if a.status == http.StatusOK {
			f.Add([]byte(a.body))
		}
	}
	f.Add([]byte(`{"topic_name":"news","topicName":"sport"}`))
	f.Add([]byte(`{"topic_name":"sport","topic_name":"news"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if decodeObject(body) == nil {
			plain(t, body)
		} else if decodeSubscribed("news")(body) == nil {
			t.Fatal("believed what is no answer to any call")
		}
		if decodeSubscribed("news")(body) != nil {
			return
		}
		for _, topic := range topics(plain(t, body)) {
			if topic != "news" && topic != "" && topic != nil {
				t.Fatalf("believed for another topic, %q", topic)
			}
		}
	})
}

// A subscription that is believed has the one topic that is named and a date that can be written, and is believed again as it was
// understood, in either spelling.
func FuzzDecodeSubscription(f *testing.F) {
	f.Add([]byte(`{"name":"x","topic_name":"news","create_time":"2026-10-01T02:03:04.5Z"}`))
	f.Add([]byte(`{"topicName":"news","createTime":"0000-01-01T00:00:00+23:59"}`))
	f.Add([]byte(`{"topic_name":"news","topicName":"sport"}`))
	f.Add([]byte(`{"topic_name":"news","error":null}`))
	f.Add([]byte("{\"topic_name\":\"a\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeSubscription(body)
		if err != nil {
			if got != (Subscription{}) || !errors.As(err, new(*iidclient.ReplyError)) {
				t.Fatalf("%+v beside %v", got, err)
			}
			return
		}
		if named := topics(plain(t, body)); len(named) != 1 || named[0] != got.Topic || got.Topic == "" {
			t.Fatalf("%q for %q", got.Topic, named)
		}
		for _, names := range [][2]string{{"topic_name", "create_time"}, {"topicName", "createTime"}} {
			text, err := json.Marshal(map[string]any{names[0]: got.Topic, names[1]: got.Created})
			if err != nil {
				t.Fatal(err)
			}
			if again, err := decodeSubscription(text); err != nil || again != got {
				t.Fatalf("%s: %+v, %v", text, again, err)
			}
		}
	})
}

// A page that is believed has all subscriptions that it lists, each with its topic, and is believed again as it was understood.
func FuzzDecodePage(f *testing.F) {
	f.Add([]byte(`{"topic_subscriptions":[{"topic_name":"a","create_time":"2026-10-01T00:00:00Z"},{"topicName":"b"}],"next_page_token":"x"}`))
	f.Add([]byte(`{"topicSubscriptions":[{"topicName":"a"}],"nextPageToken":"x"}`))
	f.Add([]byte(`{"topic_subscriptions":[{"topic_name":"a"}],"topic_subscriptions":[{}]}`))
	for _, body := range []string{``, `null`, `[]`, `{}`, `{"error":{}}`, `{"topic_subscriptions":[null]}`, `{"topic_subscriptions":{}}`, `{"topic_subscriptions":[]}{}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		some, next, err := decodePage(body)
		if err != nil {
			if some != nil || next != "" || !errors.As(err, new(*iidclient.ReplyError)) {
				t.Fatalf("%+v, %q beside %v", some, next, err)
			}
			return
		}
		page := plain(t, body)
		var listed []any
		for _, list := range members(page, "topic_subscriptions", "topicSubscriptions") {
			one, _ := list.([]any)
			listed = append(listed, one...)
		}
		if len(listed) != len(some) {
			t.Fatalf("%d subscriptions of %d", len(some), len(listed))
		}
		for i, s := range some {
			if named := topics(listed[i]); len(named) != 1 || named[0] != s.Topic || s.Topic == "" {
				t.Fatalf("%q for %q", s.Topic, named)
			}
		}
		if tokens := members(page, "next_page_token", "nextPageToken"); len(tokens) > 1 || len(tokens) == 1 && tokens[0] != next && tokens[0] != nil {
			t.Fatalf("the next page is %q, of %q", next, tokens)
		}
		again, following, err := decodePage(encodePage(t, some, next))
		if err != nil || !reflect.DeepEqual(again, some) || following != next {
			t.Fatalf("%+v, %q, %v", again, following, err)
		}
	})
}

func encodePage(t *testing.T, some []Subscription, next string) []byte {
	type one struct {
		Topic   string    `json:"topic_name"`
		Created time.Time `json:"create_time"`
	}
	var page struct {
		List []one  `json:"topic_subscriptions"`
		Next string `json:"next_page_token"`
	}
	page.Next = next
	for _, s := range some {
		page.List = append(page.List, one(s))
	}
	text, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// unregisters reports whether a refusal has a detail of FCM's own that says that the registration is gone.
func unregisters(body []byte) bool {
	var object any
	json.Unmarshal(body, &object)
	for _, failed := range members(object, "error") {
		for _, details := range members(failed, "details") {
			all, _ := details.([]any)
			for _, detail := range all {
				for _, word := range members(detail, "errorCode", "reason") {
					if word == unregistered {
						return true
					}
				}
			}
		}
	}
	return false
}

// A refusal ends a registration only if the service itself says both that it is gone and NOT_FOUND, with the status of that; what
// tells of the call or the project judges no registration; and no refusal is a success but that of a subscription which is there.
func FuzzRefusal(f *testing.F) {
	for _, a := range answers {
		f.Add(uint16(a.status), a.contentType, []byte(a.body))
		for _, status := range []uint16{400, 403, 410, 429} { // which contradict what is said under 404
			f.Add(status, a.contentType, []byte(a.body))
		}
	}
	for _, details := range []string{
		`"details":[{"errorCode":"UNREGISTERED"}],"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError"}]`,
		`"details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]},"error":{"status":"NOT_FOUND"`,
	} {
		f.Add(uint16(404), "application/json", []byte(`{"error":{"status":"NOT_FOUND",`+details+`}}`))
	}
	f.Fuzz(func(t *testing.T, status uint16, mediaType string, body []byte) {
		if status == http.StatusOK {
			return
		}
		c := reply{int(status), mediaType, body}.client(t)
		err := c.Subscribe(t.Context(), "a:b", "news")
		refused, _ := errors.AsType[*iidclient.StatusError](err)
		if err == nil {
			if status != http.StatusConflict || !bytes.Contains(body, []byte("EXISTS")) {
				t.Fatal("taken for a success")
			}
			return
		}
		if refused == nil || refused.Status != int(status) || refused.RetryAfter < 0 || strings.Contains(err.Error(), "a:b") {
			t.Fatalf("%v", err)
		}
		judged, _ := errors.AsType[*iidclient.TokenError](err)
		switch {
		case judged == nil:
		case refused.Body != iidclient.BodyObject || errors.As(err, new(*ProjectError)):
			t.Fatalf("%v judges a registration", err)
		case judged.Code == iidclient.CodeNotFound:
			if status != http.StatusNotFound || refused.Code != notFound || !unregisters(body) {
				t.Fatalf("%v ends a registration", err)
			}
		case judged.Code == iidclient.CodeTooManyTopics, judged.Code == iidclient.CodePermissionDenied, judged.Code == iidclient.CodeInvalidArgument:
			if status < 400 || status >= 500 || status == http.StatusUnauthorized {
				t.Fatalf("%v judges a registration", err)
			}
		default:
			t.Fatalf("%v: %q", err, judged.Code)
		}
		if _, found, err := c.Get(t.Context(), "a:b", "news"); found || err == nil && status != http.StatusNotFound {
			t.Fatalf("found: %v, %v", found, err)
		}
	})
}
