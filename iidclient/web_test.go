package iidclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

var vapidKey = iidtest.VAPIDKey(1)

// push is the nth push subscription, as a browser gives it.
func push(t testing.TB, n int) Subscription {
	t.Helper()
	text, err := json.Marshal(iidtest.Push(1, n))
	if err != nil {
		t.Fatal(err)
	}
	var s Subscription
	if err := json.Unmarshal(append(text[:len(text)-1], `,"expirationTime":null}`...), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWebSendsWhatTheReferenceSays(t *testing.T) {
	var got []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Values("access_token_auth")) != 0 {
			t.Error("access_token_auth beside a bearer token of the web part")
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, strings.Join([]string{r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Crypto-Key"), string(body)}, " "))
		if r.Method == http.MethodDelete {
			reply(200, "{}\n")(w, r)
			return
		}
		reply(200, `{ "token" : "x:y" }`)(w, r)
	})
	c := open(t, s.URL+"/base", Config{Credential: bearer()})
	sub := push(t, 0)
	token, err := c.WebImport(t.Context(), vapidKey, sub)
	newToken, refreshErr := c.WebRefresh(t.Context(), vapidKey, "a:b/c", sub)
	if err := errors.Join(err, refreshErr, c.WebDelete(t.Context(), "a:b/c")); err != nil || token != "x:y" || newToken != "x:y" {
		t.Error(token, newToken, err)
	}
	body := fmt.Sprintf(`{"endpoint":%q,"keys":{"auth":%q,"p256dh":%q}}`, sub.Endpoint, sub.Keys.Auth, sub.Keys.P256DH)
	want := []string{
		"POST /base/v1/web/iid Bearer test p256ecdsa=" + vapidKey + " " + body,
		"POST /base/v1/web/iid/a:b%2Fc:refresh Bearer test p256ecdsa=" + vapidKey + " " + body,
		"DELETE /base/v1/web/iid/a:b%2Fc Bearer test  ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWebImportRefreshDelete(t *testing.T) {
	rules := iidtest.Web{Renew: 0.5}
	service, c := standIn(t, iidtest.Config{Web: rules})
	held := map[string]iidtest.PushSubscription{}
	for n := range 10 {
		token, err := c.WebImport(t.Context(), vapidKey, push(t, n))
		if want := iidtest.WebToken(iidtest.Push(1, n).Endpoint); err != nil || token != want {
			t.Fatal(token, err)
		}
		want := token
		if rules.Renews(token) {
			want = iidtest.Renewed(token)
		}
		token, err = c.WebRefresh(t.Context(), vapidKey, token, push(t, n+100))
		if err != nil || token != want {
			t.Errorf("%d: got %s, %v, want %s", n, token, err, want)
		}
		held[token] = iidtest.Push(1, n+100)
	}
	if got := service.Pushes(); len(got) != 10 || !maps.Equal(got, held) {
		t.Errorf("the service holds %v", got)
	}
	for token := range held {
		if err := c.WebDelete(t.Context(), token); err != nil {
			t.Error(err)
		}
		if got := verdictOf(t, c.WebDelete(t.Context(), token)); got != CodeNotFound {
			t.Errorf("deleted twice: %q", got)
		}
	}
	if len(service.Pushes()) != 0 {
		t.Errorf("the service holds %v", service.Pushes())
	}
}

func TestWebIsJudged(t *testing.T) {
	endpoint := iidtest.Push(1, 0).Endpoint
	token := iidtest.WebToken(endpoint)
	fates := map[string]iidtest.Fate{}
	service, c := standIn(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return fates[token] }})
	for _, test := range []struct {
		fate          iidtest.Fate
		imported, any Code
	}{
		{iidtest.Live, CodeOK, CodeOK},
		{iidtest.Dead, noVerdict, CodeNotFound},
		{iidtest.Invalid, CodeInvalidArgument, CodeInvalidArgument},
		{iidtest.OtherProject, CodePermissionDenied, CodePermissionDenied},
		{iidtest.Always("INTERNAL"), noVerdict, noVerdict},
	} {
		fates[endpoint], fates[token] = test.fate, test.fate
		service.Reset()
		_, err := c.WebImport(t.Context(), vapidKey, push(t, 0))
		if got := verdictOf(t, err); got != test.imported {
			t.Errorf("%+v: import: %q", test.fate, got)
		}
		_, err = c.WebRefresh(t.Context(), vapidKey, token, push(t, 0))
		if got := verdictOf(t, err); got != test.any {
			t.Errorf("%+v: refresh: %q", test.fate, got)
		}
		if got := verdictOf(t, c.WebDelete(t.Context(), token)); got != test.any {
			t.Errorf("%+v: delete: %q", test.fate, got)
		}
	}
}

func TestWebRefusals(t *testing.T) {
	for name, want := range refusals {
		_, c := standIn(t, iidtest.Config{Faults: []iidtest.Plan{fault(t, name)}})
		_, err := c.WebRefresh(t.Context(), vapidKey, "a:b", push(t, 0))
		if got := verdictOf(t, err); got != want {
			t.Errorf("%s: refresh: got %q, want %q", name, got, want)
		}
		if got := verdictOf(t, c.WebDelete(t.Context(), "a:b")); got != want {
			t.Errorf("%s: delete: got %q, want %q", name, got, want)
		}
		if want == CodeNotFound {
			want = noVerdict
		}
		_, err = c.WebImport(t.Context(), vapidKey, push(t, 0))
		if got := verdictOf(t, err); got != want {
			t.Errorf("%s: import: got %q, want %q", name, got, want)
		}
	}
}

func TestWebFaultsGiveNoToken(t *testing.T) {
	for _, name := range []string{"reset", "applied-reset", "truncated", "endless", "empty-object", "empty-body", "html", "error-200", "trailing-garbage"} {
		_, c := standIn(t, iidtest.Config{Faults: []iidtest.Plan{fault(t, name)}})
		token, err := c.WebImport(t.Context(), vapidKey, push(t, 0))
		if judged := (*TokenError)(nil); err == nil || token != "" || errors.As(err, &judged) {
			t.Errorf("%s: got %q, %v", name, token, err)
		}
	}
}

func TestAServerKeyIsNoCredentialForTheWebCalls(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	c := open(t, s.URL, Config{})
	_, err := c.WebImport(t.Context(), vapidKey, push(t, 0))
	for _, err := range []error{err, c.WebDelete(t.Context(), "a:b")} {
		var refused *CredentialError
		if !errors.As(err, &refused) || !refused.Final {
			t.Error(err)
		}
	}
}

func TestWebArgumentsAreRefusedBeforeACall(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	c := open(t, s.URL, Config{Credential: bearer()})
	errs := map[string]error{"delete dots": c.WebDelete(t.Context(), ".."), "delete none": c.WebDelete(t.Context(), "")}
	_, errs["refresh none"] = c.WebRefresh(t.Context(), vapidKey, "", push(t, 0))
	for name, key := range map[string]string{
		"none": "", "short": vapidKey[:86], "long": vapidKey + "AAAA", "padded": vapidKey + "=", "no base64": vapidKey[:86] + "!",
		"line break": vapidKey + "\n", "compressed": "Ag" + vapidKey[2:44], "off the curve": vapidKey[:80] + "AAAAAAA",
		"standard alphabet": "BP//" + vapidKey[4:],
	} {
		_, errs["key, "+name] = c.WebImport(t.Context(), key, push(t, 0))
	}
	for name, spoil := range map[string]func(*Subscription){
		"no endpoint":    func(s *Subscription) { s.Endpoint = "" },
		"http":           func(s *Subscription) { s.Endpoint = "http://example.com/x" },
		"no host":        func(s *Subscription) { s.Endpoint = "https:///x" },
		"no URL":         func(s *Subscription) { s.Endpoint = "https://a b" },
		"space":          func(s *Subscription) { s.Endpoint = "https://a/b c" },
		"not UTF-8":      func(s *Subscription) { s.Endpoint = "https://a/\xff" },
		"long":           func(s *Subscription) { s.Endpoint = "https://a/" + strings.Repeat("x", 4096) },
		"no auth":        func(s *Subscription) { s.Keys.Auth = "" },
		"short auth":     func(s *Subscription) { s.Keys.Auth = s.Keys.Auth[:20] },
		"auth no base64": func(s *Subscription) { s.Keys.Auth = "?" },
		"no p256dh":      func(s *Subscription) { s.Keys.P256DH = "" },
		"p256dh is auth": func(s *Subscription) { s.Keys.P256DH = s.Keys.Auth },
	} {
		sub := push(t, 0)
		spoil(&sub)
		_, errs["subscription, "+name] = c.WebRefresh(t.Context(), vapidKey, "a:b", sub)
	}
	for name, err := range errs {
		var refused *ArgumentError
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASubscriptionHidesItsKeys(t *testing.T) {
	sub := push(t, 0)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, sub); strings.Contains(text, sub.Keys.Auth) || strings.Contains(text, "send/") {
			t.Errorf("%s shows %s", verb, text)
		}
	}
}

// distrustedTokens are replies that hold no token to believe.
var distrustedTokens = map[string]string{
	"empty":         ``,
	"empty object":  `{}`,
	"error":         `{"error":{"code":500}}`,
	"empty token":   `{"token":""}`,
	"null token":    `{"token":null}`,
	"number":        `{"token":5}`,
	"space":         `{"token":"a b"}`,
	"unicode space": `{"token":"a\u00a0b"}`,
	"control":       `{"token":"a\u0000"}`,
	"long":          `{"token":"` + strings.Repeat("a", 4097) + `"}`,
	"twice":         `{"token":"a","token":"b"}`,
	"more":          `{"token":"a","b":1}`,
	"Token":         `{"Token":"a"}`,
	"trailing":      `{"token":"a"}{}`,
	"cut":           `{"token":"a"`,
	"invalid UTF-8": "{\"token\":\"a\xff\"}",
	"web page":      `<!DOCTYPE html>`,
}

func TestDecodeTokenRefusesOtherReplies(t *testing.T) {
	for name, body := range distrustedTokens {
		got, err := decodeToken([]byte(body))
		var distrust *ReplyError
		if !errors.As(err, &distrust) || got != "" || distrust.Reason == "" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func FuzzDecodeToken(f *testing.F) {
	f.Add([]byte(` {"token" : "KctODamlM4:CKrh\u005fPC\/é"} `))
	for _, body := range distrustedTokens {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeToken(body)
		if err != nil {
			if got != "" {
				t.Fatal("a token beside an error")
			}
			return
		}
		var oracle map[string]string
		if err := json.Unmarshal(body, &oracle); err != nil || len(oracle) != 1 || oracle["token"] != got || got == "" {
			t.Fatalf("got %q, encoding/json has %q, %v", got, oracle, err)
		}
	})
}
