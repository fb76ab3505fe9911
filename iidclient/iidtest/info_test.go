package iidtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

const android = `"appSigner":"1a2bc3d4e51a2bc3d4e51a2bc3d4e51a2bc3d4e5","application":"com.example.android",` +
	`"applicationVersion":"36","attestStatus":"NOT_ROOTED","authorizedEntity":"123456782354",`

func TestInfo(t *testing.T) {
	now := time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)
	c := open(t, iidtest.Config{Now: func() time.Time { return now }})
	c.add("news", "a:APA91b")
	now = now.Add(2 * time.Hour)
	c.add("private/x%20", "a:APA91b")
	minted := c.imports(bundle, false, iidtest.APNsToken(1, 0))[0].Registration
	const details = `"connectDate":"2026-02-01","connectionType":"WIFI",`
	ios := `{"application":"com.example.app","applicationVersion":"36","authorizedEntity":"123456782354",`
	for path, want := range map[string]string{
		"info/a:APA91b":                `{` + android + `"platform":"ANDROID","scope":"*"}`,
		"info/a%3AAPA91b":              `{` + android + `"platform":"ANDROID","scope":"*"}`,
		"info/a:APA91b?details=false":  `{` + android + `"platform":"ANDROID","scope":"*"}`,
		"info/none?details=true":       `{` + android + details + `"platform":"ANDROID","scope":"*"}`,
		"a:APA91b?details=true":        `{` + android + details + `"platform":"ANDROID","rel":{"topics":{"news":{"addDate":"2026-01-31"},"private/x%20":{"addDate":"2026-02-01"}}},"scope":"*"}`,
		"info/a:APA91b?details=true":   `{` + android + details + `"platform":"ANDROID","rel":{"topics":{"news":{"addDate":"2026-01-31"},"private/x%20":{"addDate":"2026-02-01"}}},"scope":"*"}`,
		"info/" + minted:               ios + `"platform":"IOS","scope":"*"}`,
		"info/v1:batchAdd":             `{` + android + `"platform":"ANDROID","scope":"*"}`,
		"info/" + minted + "?details=": ios + `"platform":"IOS","scope":"*"}`,
	} {
		if got := c.do("GET", "/iid/"+path, ""); got.status != 200 || got.body != want {
			t.Errorf("%s: %v\nwant %s", path, got, want)
		}
	}
}

func TestInfoFates(t *testing.T) {
	fates := map[string]iidtest.Fate{
		"dead": iidtest.Dead, "bad": iidtest.Invalid, "other": iidtest.OtherProject, "down": iidtest.Transient(1),
		"busy": iidtest.Exhausted(1), "poison": iidtest.Poison, "full": iidtest.Overloaded,
	}
	c := open(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return fates[token] }})
	for _, test := range []struct {
		token  string
		status int
		answer string
	}{
		{"dead", 404, `{"error":"No information found about this instance id."}`},
		{"bad", 400, `{"error":"InvalidToken"}`},
		{"with%20space", 400, `{"error":"InvalidToken"}`},
		{"other", 403, `{"error":"PERMISSION_DENIED"}`},
		{"down", 500, `{"error":"INTERNAL"}`},
		{"down", 200, `{` + android},
		{"busy", 429, `{"error":"RESOURCE_EXHAUSTED"}`},
		{"poison", 400, `{"error":"INVALID_ARGUMENT"}`},
		{"full", 200, `{` + android},
	} {
		if got := c.do("GET", "/iid/info/"+test.token, ""); got.status != test.status || !strings.HasPrefix(got.body, test.answer) {
			t.Errorf("%s: %v", test.token, got)
		}
	}
}

func TestInfoIsGuardedLoggedAndStruck(t *testing.T) {
	c := open(t, iidtest.Config{Faults: []iidtest.Plan{plan(t, "404-html=every:2"), plan(t, "empty-object=every:3")}})
	c.header.Del("Access_token_auth")
	for _, want := range []string{"<!DOCTYPE html>", "<!DOCTYPE html>", "{}", "<!DOCTYPE html>"} {
		if got := c.do("GET", "/iid/info/x", ""); !strings.HasPrefix(got.body, want) {
			t.Errorf("%v, want %s", got, want)
		}
		c.header.Set("Access_token_auth", "true")
	}
	calls := c.service.Calls()
	if len(calls) != 4 || calls[0].Status != 401 || calls[1].Endpoint != "info" || calls[1].Status != 404 || calls[2].Tokens != 1 {
		t.Errorf("%+v", calls)
	}
}

func TestPathsThatAreNoInfo(t *testing.T) {
	c := open(t, iidtest.Config{})
	for path, want := range map[string]int{
		"/iid/v1:batchAdd": 405, "/iid/v1:batchImport": 405, "/iid/info/": 404, "/iid/": 404, "/iid/info/a/b": 404, "/info/a": 404,
	} {
		if got := c.do("GET", path, ""); got.status != want {
			t.Errorf("%s: %v, want %d", path, got, want)
		}
	}
	if got := c.post("/iid/info/x", ""); got.status != 405 {
		t.Errorf("POST: %v", got)
	}
}
