package iidtest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// openWeb is open with the headers of the web part.
func openWeb(t testing.TB, config iidtest.Config) *caller {
	c := open(t, config)
	c.header.Del("Access_token_auth")
	c.header.Set("Crypto-Key", "p256ecdsa="+iidtest.VAPIDKey(1))
	return c
}

func pushBody(t testing.TB, push iidtest.PushSubscription) string {
	t.Helper()
	body, err := json.Marshal(push)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// token is the token in a reply that must have one.
func (r reply) token(t testing.TB) string {
	t.Helper()
	var body struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(r.body), &body); r.status != 200 || err != nil || body.Token == "" {
		t.Fatalf("no token: %v", r)
	}
	return body.Token
}

func TestWebImportRefreshDelete(t *testing.T) {
	c := openWeb(t, iidtest.Config{})
	first, second := iidtest.Push(1, 0), iidtest.Push(1, 1)
	token := c.post("/v1/web/iid", pushBody(t, first)).token(t)
	if token != iidtest.WebToken(first.Endpoint) || c.post("/v1/web/iid", pushBody(t, first)).token(t) != token {
		t.Errorf("imported as %s", token)
	}
	if again := c.post("/v1/web/iid/"+token+":refresh", pushBody(t, second)).token(t); again != token {
		t.Errorf("refreshed as %s", again)
	}
	if got, want := c.service.Pushes(), map[string]iidtest.PushSubscription{token: second}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	shown := c.do("GET", "/emulator/v1/web", "")
	if want := `{"web":{"` + token + `":` + pushBody(t, second) + `}}`; shown.body != want {
		t.Errorf("got %v, want %s", shown, want)
	}
	add := func() string {
		c.header.Set("Access_token_auth", "true")
		defer c.header.Del("Access_token_auth")
		return c.post("/iid/v1:batchAdd", `{"to":"/topics/news","registration_tokens":["`+token+`"]}`).body
	}
	if got := add(); c.service.Count("news") != 1 {
		t.Error(got)
	}
	if got := c.do("DELETE", "/v1/web/iid/"+token, ""); got.status != 200 || got.body != "{}" {
		t.Errorf("%v", got)
	}
	if len(c.service.Pushes()) != 0 || c.service.Count("news") != 0 || len(c.service.Subscriptions(token)) != 0 {
		t.Errorf("left: %v, subscribed to %v", c.service.Pushes(), c.service.Subscriptions(token))
	}
	if got, want := add(), `{"results":[{"error":"NOT_FOUND"}]}`; strings.TrimSpace(got) != want {
		t.Errorf("a deleted token is subscribed: %s", got)
	}
	for _, gone := range []reply{c.do("DELETE", "/v1/web/iid/"+token, ""), c.post("/v1/web/iid/"+token+":refresh", pushBody(t, first))} {
		if want := `{"error":{"code":404,"message":"NOT_FOUND","status":"NOT_FOUND"}}`; gone.status != 404 || gone.body != want {
			t.Errorf("%v", gone)
		}
	}
}

func TestRefreshMayRenewTheToken(t *testing.T) {
	rules := iidtest.Web{Renew: 0.5}
	c := openWeb(t, iidtest.Config{Web: rules})
	renewed := 0
	for n := range 20 {
		body := pushBody(t, iidtest.Push(1, n))
		token := c.post("/v1/web/iid", body).token(t)
		want := token
		if rules.Renews(token) {
			want, renewed = iidtest.Renewed(token), renewed+1
		}
		for range 2 {
			if got := c.post("/v1/web/iid/"+token+":refresh", body).token(t); got != want {
				t.Errorf("%d: got %s, want %s", n, got, want)
			}
		}
		if _, known := c.service.Pushes()[want]; !known {
			t.Errorf("%d: the token that was given is not known", n)
		}
	}
	if renewed == 0 || renewed == 20 || len(c.service.Pushes()) != 20 {
		t.Errorf("%d renewed, %d held", renewed, len(c.service.Pushes()))
	}
	c.service.Reset()
	if len(c.service.Pushes()) != 0 {
		t.Error("a reset leaves push subscriptions")
	}
}

func TestARenewedTokenThatIsImportedAgainIsItself(t *testing.T) {
	c := openWeb(t, iidtest.Config{Web: iidtest.Web{Renew: 1}})
	body := pushBody(t, iidtest.Push(1, 0))
	token := c.post("/v1/web/iid", body).token(t)
	once := c.post("/v1/web/iid/"+token+":refresh", body).token(t)
	twice := c.post("/v1/web/iid/"+once+":refresh", body).token(t)
	if got := c.post("/v1/web/iid/"+token+":refresh", body).token(t); once == twice || got != twice {
		t.Errorf("the oldest of three leads to %s, want %s", got, twice)
	}
	c.post("/v1/web/iid", body)
	if got := c.post("/v1/web/iid/"+token+":refresh", body).token(t); got != once {
		t.Errorf("got %s, want %s", got, once)
	}
}

func TestInfoOfAWebToken(t *testing.T) {
	c := openWeb(t, iidtest.Config{})
	token := c.post("/v1/web/iid", pushBody(t, iidtest.Push(1, 0))).token(t)
	c.header.Set("Access_token_auth", "true")
	if got := c.do("GET", "/iid/info/"+token, ""); !strings.Contains(got.body, `"platform":"WEBPUSH"`) || !strings.Contains(got.body, `"subtype":"wp:https://`) {
		t.Errorf("%v", got)
	}
}

func TestRefusedPushSubscriptionsChangeNothing(t *testing.T) {
	sound := iidtest.Push(1, 0)
	body := pushBody(t, sound)
	spoilt := func(spoil func(*iidtest.PushSubscription)) string {
		push := sound
		spoil(&push)
		return pushBody(t, push)
	}
	for name, test := range map[string]struct{ header, value, body, says string }{
		"expirationTime": {"", "", body[:len(body)-1] + `,"expirationTime":null}`, `unknown field \"expirationTime\"`},
		"not JSON":       {"", "", `{"endpoint"`, "Invalid JSON payload"},
		"trailing":       {"", "", body + "{}", "Invalid JSON payload"},
		"no endpoint":    {"", "", spoilt(func(p *iidtest.PushSubscription) { p.Endpoint = "" }), "Invalid endpoint"},
		"http endpoint":  {"", "", spoilt(func(p *iidtest.PushSubscription) { p.Endpoint = "http://a/b" }), "Invalid endpoint"},
		"short auth":     {"", "", spoilt(func(p *iidtest.PushSubscription) { p.Keys.Auth = "YQ" }), "Invalid auth"},
		"padded p256dh":  {"", "", spoilt(func(p *iidtest.PushSubscription) { p.Keys.P256DH += "=" }), "Invalid p256dh"},
		"no point":       {"", "", spoilt(func(p *iidtest.PushSubscription) { p.Keys.P256DH = "BA" }), "Invalid p256dh"},
		"no Crypto-Key":  {"Crypto-Key", "", body, "Crypto-Key"},
		"bare key":       {"Crypto-Key", iidtest.VAPIDKey(1), body, "Crypto-Key"},
		"short key":      {"Crypto-Key", "p256ecdsa=BA", body, "Crypto-Key"},
		"type":           {"Content-Type", "text/plain", body, "Content-Type"},
	} {
		t.Run(name, func(t *testing.T) {
			c := openWeb(t, iidtest.Config{})
			if test.header != "" {
				c.header.Set(test.header, test.value)
			}
			got := c.post("/v1/web/iid", test.body)
			if got.status != 400 || !strings.Contains(got.body, test.says) || !strings.Contains(got.body, `"status":"INVALID_ARGUMENT"`) {
				t.Errorf("%v", got)
			}
			if len(c.service.Pushes()) != 0 {
				t.Error("applied")
			}
		})
	}
}

func TestWebAuthorization(t *testing.T) {
	body := pushBody(t, iidtest.Push(1, 0))
	for name, test := range map[string]struct {
		authorization, access string
		status                int
	}{
		"bearer":        {"Bearer x", "", 200},
		"none":          {"", "", 401},
		"key":           {"key=AIza", "", 401},
		"access header": {"Bearer x", "true", 401},
	} {
		c := openWeb(t, iidtest.Config{ServerKey: "AIza"})
		c.header.Set("Authorization", test.authorization)
		c.header.Set("Access_token_auth", test.access)
		got := c.post("/v1/web/iid", body)
		if got.status != test.status || got.status == 401 && !strings.Contains(got.body, `"status":"UNAUTHENTICATED"`) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWebFates(t *testing.T) {
	push := iidtest.Push(1, 0)
	token := iidtest.WebToken(push.Endpoint)
	fates := map[string]iidtest.Fate{}
	c := openWeb(t, iidtest.Config{
		Fates: func(token string) iidtest.Fate { return fates[token] },
		Quota: iidtest.Quota{Rate: 1e-9, Burst: 1000},
	})
	c.post("/v1/web/iid", pushBody(t, push)).token(t)
	for _, fate := range []iidtest.Fate{iidtest.Dead, iidtest.Invalid, iidtest.OtherProject, iidtest.Always("INTERNAL"), iidtest.Exhausted(9)} {
		fates[push.Endpoint], fates[token] = fate, fate
		for _, got := range []reply{
			c.post("/v1/web/iid", pushBody(t, push)),
			c.post("/v1/web/iid/"+token+":refresh", pushBody(t, push)),
			c.do("DELETE", "/v1/web/iid/"+token, ""),
		} {
			if !strings.HasPrefix(got.body, fmt.Sprintf(`{"error":{"code":%d,`, got.status)) || !strings.Contains(got.body, `"status":"`+fate.Code+`"`) {
				t.Errorf("%+v: %v", fate, got)
			}
		}
	}
	if len(c.service.Pushes()) != 1 {
		t.Error("a refused deletion was applied")
	}
}

func TestWebQuota(t *testing.T) {
	c := openWeb(t, iidtest.Config{Quota: iidtest.Quota{Rate: 1e-9, Burst: 1, RetryAfter: 7e9}})
	body := pushBody(t, iidtest.Push(1, 0))
	c.post("/v1/web/iid", body).token(t)
	got := c.post("/v1/web/iid", body)
	if got.status != 429 || got.header.Get("Retry-After") != "7" || !strings.Contains(got.body, `"status":"RESOURCE_EXHAUSTED"`) {
		t.Errorf("%v", got)
	}
}

func TestWebIsLoggedAndStruck(t *testing.T) {
	c := openWeb(t, iidtest.Config{})
	body := pushBody(t, iidtest.Push(1, 0))
	token := c.post("/v1/web/iid", body).token(t)
	c.post("/v1/web/iid/"+token+":refresh", body)
	c.service.SetFaults(plan(t, "503-object=first:1"))
	c.do("DELETE", "/v1/web/iid/"+token, "")
	c.post("/v1/web/iid/"+token, body)
	c.post("/v1/web/iid/:refresh", body)
	c.do("GET", "/v1/web/iid", "")
	var log []string
	for _, call := range c.service.Calls() {
		log = append(log, fmt.Sprint(call.Endpoint, " ", call.Tokens, " ", call.Status, " ", call.Fault))
	}
	want := "webImport 1 200 |webRefresh 1 200 |webDelete 1 503 503-object| 0 405 | 0 405 | 0 405 "
	if got := strings.Join(log, "|"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPushSubscriptionsAreStable(t *testing.T) {
	push, again, key := iidtest.Push(1, 0), iidtest.Push(1, 0), iidtest.VAPIDKey(1)
	if push != again || push == iidtest.Push(1, 1) || push == iidtest.Push(2, 0) {
		t.Error("a push subscription must depend on its arguments, and on nothing else")
	}
	if again := iidtest.VAPIDKey(1); again != key || key == iidtest.VAPIDKey(2) {
		t.Error("a key must depend on its seed, and on nothing else")
	}
}
