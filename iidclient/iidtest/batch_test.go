package iidtest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestBatchAddAndRemoveActOnASet(t *testing.T) {
	c := open(t, iidtest.Config{})
	three := tokens(0, 3)
	for range 2 {
		if codes := c.add("news", three...).codes(t); !slices.Equal(codes, []string{"", "", ""}) {
			t.Fatalf("add: %q", codes)
		}
	}
	for range 2 {
		if codes := c.remove("news", three[0]).codes(t); !slices.Equal(codes, []string{""}) {
			t.Fatalf("remove: %q", codes)
		}
	}
	c.remove("unheard-of", "nobody")
	want := slices.Sorted(slices.Values(three[1:]))
	if got := c.service.Subscribers("news"); !slices.Equal(got, want) || c.service.Count("news") != 2 {
		t.Errorf("subscribers %q, count %d, want %q", got, c.service.Count("news"), want)
	}
}

func TestDuplicatesAreAnsweredPositionByPosition(t *testing.T) {
	c := open(t, iidtest.Config{Fates: func(token string) iidtest.Fate {
		if token == "b" {
			return iidtest.Transient(1)
		}
		return iidtest.Live
	}})
	if codes := c.add("news", "a", "b", "a", "b").codes(t); !slices.Equal(codes, []string{"", "INTERNAL", "", ""}) {
		t.Errorf("%q", codes)
	}
	if c.service.Count("news") != 2 {
		t.Errorf("%d subscribed, want 2", c.service.Count("news"))
	}
}

func TestAnswerIsTheDocumentedOne(t *testing.T) {
	c := open(t, iidtest.Config{Fates: func(token string) iidtest.Fate {
		return map[string]iidtest.Fate{"dead": iidtest.Dead, "odd": iidtest.Always(`say "what"`)}[token]
	}})
	got := c.add("news", "live", "dead", "odd")
	if want := `{"results":[{},{"error":"NOT_FOUND"},{"error":"say \"what\""}]}` + "\n"; got.body != want {
		t.Errorf("got %s want %s", got.body, want)
	}
	if got.header.Get("Content-Type") != "application/json; charset=UTF-8" {
		t.Errorf("content type %q", got.header.Get("Content-Type"))
	}
}

func TestRefusedBatchesChangeNothing(t *testing.T) {
	const path = "/iid/v1:batchAdd"
	invalid := `{"error":"INVALID_ARGUMENT"}`
	for name, test := range map[string]struct {
		path, body, contentType string
		status                  int
		answer                  string
	}{
		"no tokens":        {path, `{"to":"/topics/a","registration_tokens":[]}`, "", 400, invalid},
		"tokens missing":   {path, `{"to":"/topics/a"}`, "", 400, invalid},
		"too many":         {path, batchBody(t, "a", tokens(0, 1001)), "", 400, invalid},
		"no topic":         {path, `{"registration_tokens":["x"]}`, "", 400, invalid},
		"topic bare":       {path, `{"to":"a","registration_tokens":["x"]}`, "", 400, invalid},
		"topic empty":      {path, `{"to":"/topics/","registration_tokens":["x"]}`, "", 400, invalid},
		"topic bad":        {path, `{"to":"/topics/a b","registration_tokens":["x"]}`, "", 400, invalid},
		"topic long":       {path, batchBody(t, strings.Repeat("t", 901), []string{"x"}), "", 400, invalid},
		"token a number":   {path, `{"to":"/topics/a","registration_tokens":[1]}`, "", 400, invalid},
		"not JSON":         {path, `{"to":"/topics/a","registration_tokens":["x"],}`, "", 400, `{"error":"Request body is not valid JSON."}`},
		"empty":            {path, ``, "", 400, `{"error":"Request body is not valid JSON."}`},
		"cut off":          {path, `{"to":"/topics/a","registration_tokens":["x"`, "", 400, `{"error":"Request body is not valid JSON."}`},
		"form":             {path, `{"to":"/topics/a","registration_tokens":["x"]}`, "text/plain", 400, `{"error":"Content-Type must be application/json."}`},
		"wrong path":       {"/iid/v1/batchAdd", `{"to":"/topics/a","registration_tokens":["x"]}`, "", 404, "<!DOCTYPE html>"},
		"wrong base":       {"/v1:batchAdd", `{"to":"/topics/a","registration_tokens":["x"]}`, "", 404, "<!DOCTYPE html>"},
		"relation, topic":  {"/iid/v1/x/rel/topics/a%20b", ``, "", 400, invalid},
		"relation, body":   {"/iid/v1/x/rel/topics/a", `{"a":1}`, "", 400, invalid},
		"relation, no tok": {"/iid/v1//rel/topics/a", ``, "", 404, "<!DOCTYPE html>"},
		"relation, v2":     {"/iid/v2/x/rel/topics/a", ``, "", 404, "<!DOCTYPE html>"},
		"over 8 MiB":       {path, strings.Repeat(" ", 9<<20), "", 413, "<!DOCTYPE html>"},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, iidtest.Config{})
			if test.contentType != "" {
				c.header.Set("Content-Type", test.contentType)
			}
			got := c.post(test.path, test.body)
			if got.status != test.status || !strings.HasPrefix(got.body, test.answer) {
				t.Errorf("got %v", got)
			}
			if counts := c.service.Counts(); len(counts) != 0 {
				t.Errorf("applied: %v", counts)
			}
		})
	}
}

func TestMethodsThatThereAreNot(t *testing.T) {
	c := open(t, iidtest.Config{})
	for _, path := range []string{"/iid/v1:batchAdd", "/iid/v1/x/rel/topics/a", "/token"} {
		if got := c.do("GET", path, ""); got.status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %v", path, got)
		}
	}
}

func TestWhatSDKsSendIsAccepted(t *testing.T) {
	for name, test := range map[string]struct{ contentType, body string }{
		"go":          {"application/json", `{"to":"/topics/a","registration_tokens":["x","y"]}`},
		"node":        {"application/json;charset=utf-8", `{"to":"/topics/a","registration_tokens":["x","y"]}`},
		"python":      {"application/json", `{"to": "/topics/a", "registration_tokens": ["x", "y"]}`},
		"other order": {"application/json; charset=UTF-8", `{"registration_tokens":["x","y"],"to":"/topics/a"}`},
		"escapes":     {"application/json", `{"to":"\/topics\/a","registration_tokens":["\u0078","y"]}`},
		"more fields": {"application/json", `{"to":"/topics/a","registration_tokens":["x","y"],"z":{"q":[null]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, iidtest.Config{})
			c.header.Set("Content-Type", test.contentType)
			if codes := c.post("/iid/v1:batchAdd", test.body).codes(t); !slices.Equal(codes, []string{"", ""}) {
				t.Errorf("%q", codes)
			}
			if got := c.service.Subscribers("a"); !slices.Equal(got, []string{"x", "y"}) {
				t.Errorf("subscribed %q", got)
			}
		})
	}
}

func TestThousandTokens(t *testing.T) {
	c := open(t, iidtest.Config{})
	if codes := c.add("private/a-_.~%20", tokens(0, 1000)...).codes(t); len(codes) != 1000 {
		t.Errorf("%d results", len(codes))
	}
	if got := c.service.Count("private/a-_.~%20"); got != 1000 {
		t.Errorf("%d subscribed", got)
	}
}

func TestTopicCap(t *testing.T) {
	c := open(t, iidtest.Config{TopicCap: 2})
	for i, want := range []string{"", "", "TOO_MANY_TOPICS"} {
		topic := string(rune('a' + i))
		if codes := c.add(topic, "x").codes(t); codes[0] != want {
			t.Errorf("topic %s: %q, want %q", topic, codes[0], want)
		}
	}
	if codes := c.add("a", "x").codes(t); codes[0] != "" {
		t.Errorf("again: %q", codes[0])
	}
	c.remove("a", "x")
	if codes := c.add("c", "x").codes(t); codes[0] != "" {
		t.Errorf("after a removal: %q", codes[0])
	}
}

func TestAddDateIsThatOfTheFirstAdd(t *testing.T) {
	now := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC)
	c := open(t, iidtest.Config{Now: func() time.Time { return now }})
	c.add("a", "x")
	now = now.Add(time.Second)
	c.add("a", "x")
	c.add("b", "x")
	want := []iidtest.Subscription{{Topic: "a", AddDate: "2026-01-31"}, {Topic: "b", AddDate: "2026-02-01"}}
	if got := c.service.Subscriptions("x"); !slices.Equal(got, want) {
		t.Errorf("got %v want %v", got, want)
	}
}

func TestRelation(t *testing.T) {
	fates := map[string]iidtest.Fate{
		"dead": iidtest.Dead, "bad": iidtest.Invalid, "other": iidtest.OtherProject,
		"down": iidtest.Transient(1), "busy": iidtest.Exhausted(1), "poison": iidtest.Poison,
		"full": iidtest.Overloaded,
	}
	c := open(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return fates[token] }})
	for _, test := range []struct {
		token, body string
		status      int
		answer      string
	}{
		{"a:APA91b", "", 200, `{}`},
		{"b%3AAPA91b", "{}", 200, `{}`},
		{"dead", "", 404, `{"error":"No information found about this instance id."}`},
		{"bad", "", 400, `{"error":"InvalidToken"}`},
		{"with%20space", "", 400, `{"error":"InvalidToken"}`},
		{"other", "", 403, `{"error":"PERMISSION_DENIED"}`},
		{"down", "", 500, `{"error":"INTERNAL"}`},
		{"busy", "", 429, `{"error":"RESOURCE_EXHAUSTED"}`},
		{"full", "", 400, `{"error":"TOO_MANY_TOPICS"}`},
		{"poison", "", 400, `{"error":"INVALID_ARGUMENT"}`},
	} {
		if got := c.post("/iid/v1/"+test.token+"/rel/topics/movies", test.body); got.status != test.status || got.body != test.answer {
			t.Errorf("%s: %v", test.token, got)
		}
	}
	if got := c.service.Subscribers("movies"); !slices.Equal(got, []string{"a:APA91b", "b:APA91b"}) {
		t.Errorf("subscribed %q", got)
	}
}

// TestStateIsASetPerTopic compares the state with a map of maps, through the
// handler.
func TestStateIsASetPerTopic(t *testing.T) {
	c := open(t, iidtest.Config{TopicCap: 2})
	rapid.Check(t, func(r *rapid.T) {
		c.service.Reset()
		model := map[string]map[string]bool{}
		for range rapid.IntRange(1, 12).Draw(r, "calls") {
			topic := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "topic")
			list := rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "z", "w"}), 1, 6).Draw(r, "tokens")
			adds := rapid.Bool().Draw(r, "adds")
			endpoint := map[bool]string{true: "batchAdd", false: "batchRemove"}[adds]
			codes := c.batch(endpoint, topic, list...).codes(t)
			for i, token := range list {
				if want := modelStep(model, adds, topic, token); codes[i] != want {
					r.Fatalf("%s %s %s: %q, want %q", endpoint, topic, token, codes[i], want)
				}
			}
		}
		for _, topic := range []string{"a", "b", "c"} {
			var want []string
			for token, topics := range model {
				if topics[topic] {
					want = append(want, token)
				}
			}
			slices.Sort(want)
			if got := c.service.Subscribers(topic); !slices.Equal(got, want) || c.service.Count(topic) != len(want) {
				r.Fatalf("%s: %q (count %d), want %q", topic, got, c.service.Count(topic), want)
			}
		}
	})
}

func modelStep(model map[string]map[string]bool, adds bool, topic, token string) string {
	topics := model[token]
	switch {
	case !adds:
		delete(topics, topic)
	case topics == nil:
		model[token] = map[string]bool{topic: true}
	case !topics[topic] && len(topics) == 2:
		return iidtest.CodeTooManyTopics
	default:
		topics[topic] = true
	}
	return ""
}
