package iidtest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// projectOf is the project of a stand-in's credentials.
func (c *caller) projectOf() string {
	c.t.Helper()
	var file struct {
		Project string `json:"project_id"`
	}
	if err := json.Unmarshal(c.service.CredentialsJSON(c.service.URL), &file); err != nil {
		c.t.Fatal(err)
	}
	return file.Project
}

// fcm makes a call of the successor API about a token.
func (c *caller) fcm(method, token, rest, body string) reply {
	c.t.Helper()
	return c.do(method, "/v1/projects/"+c.projectOf()+"/registrations/"+url.PathEscape(token)+"/topicSubscriptions"+rest, body)
}

// says fails unless the reply has the status and all of the words.
func (r reply) says(t *testing.T, status int, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(r.body, word) {
			t.Errorf("%v lacks %s", r, word)
		}
	}
	if r.status != status {
		t.Errorf("got %v, want %d", r, status)
	}
}

// One API sees what the other has done.
func TestBothAPIsHaveOneState(t *testing.T) {
	c := open(t, iidtest.Config{})
	list := tokens(0, 3)
	c.add("news", list[0])
	c.fcm("POST", list[0], "?topic_name=news", "{}").says(t, 409, `"ALREADY_EXISTS"`)
	c.fcm("POST", list[1], "?topicName=news", "{}").says(t, 200, `"topic_name":"news"`, `"create_time":"20`, "/registrations/"+list[1]+"/topicSubscriptions/news")
	c.do("GET", "/iid/info/"+list[1]+"?details=true", "").says(t, 200, `"news":{"addDate":`)
	c.remove("news", list[1])
	c.fcm("DELETE", list[1], "/news", "").says(t, 404, `"NOT_FOUND"`)
	c.fcm("DELETE", list[1], "/news?allow_missing=true", "").says(t, 200)
	c.fcm("DELETE", list[0], "/news?allowMissing=true", "").says(t, 200)
	if n := c.service.Count("news"); n != 0 {
		t.Errorf("%d are subscribed", n)
	}
	c.fcm("PATCH", list[2], "/news", "{}").says(t, 404)
	c.fcm("PATCH", list[2], "/news?allowMissing=true", "{}").says(t, 200, `"topic_name":"news"`)
	c.fcm("GET", list[2], "/news", "").says(t, 200, `"topic_name":"news"`)
	c.fcm("GET", list[2], "/sport", "").says(t, 404)
	if got := c.service.Subscribers("news"); !slices.Equal(got, list[2:]) {
		t.Errorf("subscribed: %q", got)
	}
}

func TestListOfSubscriptionsHasPages(t *testing.T) {
	c := open(t, iidtest.Config{FCM: iidtest.FCM{Page: 2}})
	token := iidtest.Token(1, 1)
	c.fcm("GET", token, "", "").says(t, 200, "{}")
	for n := range 5 {
		c.add(fmt.Sprintf("topic-%d", n), token)
	}
	c.fcm("GET", token, "?pageSize=2000", "").says(t, 200, "topic-0", "topic-1", `"next_page_token":"2"`)
	c.fcm("GET", token, "?page_token=2", "").says(t, 200, "topic-2", "topic-3", `"next_page_token":"4"`)
	last := c.fcm("GET", token, "?pageToken=4", "")
	last.says(t, 200, "topic-4")
	if strings.Contains(last.body, "next_page_token") {
		t.Errorf("there is a page after the last: %v", last)
	}
	c.fcm("GET", token, "?pageToken=6", "").says(t, 400, "INVALID_ARGUMENT")
}

// refused are the words of the successor API for each fate of a token.
var refused = map[iidtest.Fate][]string{
	iidtest.Dead:                 {"404", "NOT_FOUND", "UNREGISTERED"},
	iidtest.Invalid:              {"400", "INVALID_ARGUMENT", "FcmError"},
	iidtest.Poison:               {"400", "INVALID_ARGUMENT"},
	iidtest.OtherProject:         {"403", "PERMISSION_DENIED", "SENDER_ID_MISMATCH"},
	iidtest.Overloaded:           {"429", "RESOURCE_EXHAUSTED", "QuotaFailure", "/registrations/"},
	iidtest.Exhausted(1):         {"429", "RESOURCE_EXHAUSTED", `"subject":"project:`, `"retryDelay":"1s"`},
	iidtest.Transient(1):         {"500", "INTERNAL"},
	iidtest.Always("UNHEARD_OF"): {"500", "UNHEARD_OF"},
}

func TestFatesInTheWordsOfTheSuccessor(t *testing.T) {
	for fate, words := range refused {
		c := open(t, iidtest.Config{Fates: func(string) iidtest.Fate { return fate }})
		r := c.fcm("POST", "a:b", "?topic_name=news", "{}")
		r.says(t, r.status, words[1:]...)
		if fmt.Sprint(r.status) != words[0] {
			t.Errorf("%v: %v", fate, r)
		}
	}
}

func TestProjectIsLookedAtFirst(t *testing.T) {
	c := open(t, iidtest.Config{FCM: iidtest.FCM{Disabled: true}, Fates: func(string) iidtest.Fate { return iidtest.Dead }})
	c.fcm("POST", "a:b", "?topic_name=news", "{}").says(t, 403, "SERVICE_DISABLED", `"domain":"googleapis.com"`)
	c.post("/v1/projects/nobody/registrations/a:b/topicSubscriptions?topic_name=news", "{}").says(t, 403, "IAM_PERMISSION_DENIED")
	c.post("/v1/projects/nobody/registrations/a:b", "{}").says(t, 404, "<html")
	c.header.Set("Authorization", "key=secret")
	c.fcm("POST", "a:b", "?topic_name=news", "{}").says(t, 401, "UNAUTHENTICATED")
}

func TestSuccessorRefusesWhatIsNoTopic(t *testing.T) {
	c := open(t, iidtest.Config{})
	for _, topic := range []string{"", "a%20b", "private/a", strings.Repeat("x", 901)} {
		c.fcm("POST", "a:b", "?topic_name="+topic, "{}").says(t, 400, "fieldViolations", "topic_name")
	}
	c.fcm("POST", "a:b", "?topic_name="+strings.Repeat("x", 900), "").says(t, 200)
	c.fcm("POST", "a:b", "?topic_name=news", "news").says(t, 400)
}

func TestQuotaHoldsForBothAPIs(t *testing.T) {
	now := time.Now()
	c := open(t, iidtest.Config{Quota: iidtest.Quota{Rate: 1, Burst: 2, RetryAfter: 3 * time.Second}, Now: func() time.Time { return now }})
	c.add("news", "a:b")
	c.fcm("POST", "a:c", "?topic_name=news", "{}").says(t, 200)
	c.fcm("POST", "a:d", "?topic_name=news", "{}").says(t, 429, "QuotaFailure", `"retryDelay":"3s"`)
	now = now.Add(time.Second)
	c.fcm("POST", "a:d", "?topic_name=news", "{}").says(t, 200)
}
