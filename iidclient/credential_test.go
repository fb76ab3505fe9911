package iidclient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
)

func TestServerKeyFile(t *testing.T) {
	k, err := ServerKeyFile(writeFile(t, "\n AAAA:secret-key \n"))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	report, err := k.Authorize(t.Context(), h)
	if err != nil || report(401) || h.Get("Authorization") != "key=AAAA:secret-key" || len(h) != 1 {
		t.Error(h, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if strings.Contains(fmt.Sprintf(verb, k), "secret") {
			t.Errorf("%s shows the key", verb)
		}
	}
}

func TestServerKeyFileRefusesOtherFiles(t *testing.T) {
	for want, path := range map[string]string{
		"does not exist":       t.TempDir() + "/none",
		"is a directory":       t.TempDir(),
		"is empty":             writeFile(t, " \n"),
		"holds JSON":           writeFile(t, `{"type":"service_account"}`),
		"more than one word":   writeFile(t, "secret key"),
		"can be no credential": writeFile(t, strings.Repeat("a", maxCredential+1)),
	} {
		_, err := ServerKeyFile(path)
		wantFinal(t, err, want)
	}
	if _, err := ServerKeyFile(t.TempDir() + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func wantFinal(t *testing.T, err error, text string) {
	t.Helper()
	var e *CredentialError
	if !errors.As(err, &e) || !e.Final || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want final, with %q", err, text)
	}
}

func TestCredentialsFileRefusesWhatGivesNoToken(t *testing.T) {
	account := func(changes ...string) string { return accountFile(t, "https://example.com/token", changes...) }
	for want, path := range map[string]string{
		"does not exist":           t.TempDir() + "/none",
		"is a directory":           t.TempDir(),
		"is empty":                 writeFile(t, ""),
		"is not the JSON":          writeFile(t, "secret"),
		"has no type":              writeFile(t, `{"project_info":{}}`),
		`has the type "authorized`: account("type", "authorized"),
		"has no client_email":      account("client_email", ""),
		"is no RSA key":            account("private_key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"),
		"bad token_uri: http://ex": account("token_uri", "http://example.com/token"),
		"token_uri: ftp":           account("token_uri", "ftp://example.com"),
		"token_uri that is not":    account("token_uri", "https://a b"),
		"has no refresh_token":     writeFile(t, `{"type":"authorized_user"}`),
		"bad token_url":            writeFile(t, `{"type":"external_account","token_url":"http://example.com"}`),
		"no source_credentials":    writeFile(t, `{"type":"impersonated_service_account"}`),
		"_impersonation_url: http": writeFile(t, `{"type":"external_account","service_account_impersonation_url":"http://example.com"}`),
		"source":                   writeFile(t, `{"type":"impersonated_service_account","source_credentials":{"type":"source"}}`),
	} {
		_, err := CredentialsFile(path, false)
		wantFinal(t, err, want)
	}
}

func TestOnlyTestCredentialsGoOverPlainHTTP(t *testing.T) {
	for _, tc := range []struct {
		path string
		want bool
	}{
		{accountFile(t, "http://example.com/token"), true},
		{accountFile(t, "HTTP://127.0.0.1/token"), true},
		{accountFile(t, "https://example.com/token"), false},
		{accountFile(t, ""), false},
		{writeFile(t, `{"type":"authorized_user","refresh_token":"x","token_uri":"http://127.0.0.1"}`), false},
	} {
		o, err := CredentialsFile(tc.path, true)
		if err != nil || o.PlainHTTP() != tc.want {
			t.Errorf("%v, %v", o, err)
		}
	}
}

func TestDefaultCredentialsReadTheNamedFile(t *testing.T) {
	t.Setenv(credentialsVariable, writeFile(t, "secret"))
	_, err := DefaultCredentials(t.Context(), false)
	wantFinal(t, err, "is not the JSON")
}

func TestDefaultCredentialsHoldGcloudsFileToTheSameRules(t *testing.T) {
	home := t.TempDir()
	t.Setenv(credentialsVariable, "")
	t.Setenv("HOME", home)
	writeGcloudFile(t, home, `{"type":"authorized_user","client_id":"a","refresh_token":"x","token_uri":"http://example.com"}`)
	_, err := DefaultCredentials(t.Context(), false)
	wantFinal(t, err, "bad token_uri")
	if o, err := DefaultCredentials(t.Context(), true); err != nil || o.PlainHTTP() {
		t.Error(o, err)
	}
}

// tokenServed mints over the wire with the file at path.
func tokenServed(t *testing.T, path string) (string, error) {
	t.Helper()
	o, err := CredentialsFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	_, err = o.Authorize(t.Context(), h)
	return h.Get("Authorization"), err
}

func TestServiceAccountMintsWithASignedAssertion(t *testing.T) {
	e := newTokenEndpoint(t)
	got, err := tokenServed(t, accountFile(t, e.URL))
	if err != nil || got != "Bearer token-1" {
		t.Fatal(got, err)
	}
}

func TestOtherKindsOfFilesMint(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body := map[string]string{
			"/user":  `{"access_token":"user","expires_in":3600}`,
			"/sts":   `{"access_token":"sts","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}`,
			"/other": `{"accessToken":"` + r.Header.Get("Authorization") + `-other","expireTime":"2099-01-01T00:00:00Z"}`,
		}[r.URL.Path]
		reply(200, strings.ReplaceAll(body, "Bearer ", ""))(w, r)
	})
	user := `{"type":"authorized_user","client_id":"a","client_secret":"b","refresh_token":"c","token_uri":"` + s.URL + `/user"}`
	for want, file := range map[string]string{
		"Bearer user": user,
		"Bearer sts": `{"type":"external_account","audience":"a","subject_token_type":"urn:ietf:params:oauth:token-type:jwt",
			"token_url":"` + s.URL + `/sts","credential_source":{"file":"` + writeFile(t, "proof") + `"}}`,
		"Bearer user-other": `{"type":"impersonated_service_account",
			"service_account_impersonation_url":"` + s.URL + `/other","source_credentials":` + user + `}`,
	} {
		if got, err := tokenServed(t, writeFile(t, file)); got != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestTokenEndpointTroubles(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("followed") })
	secret := strings.Repeat("secret", 20)
	for name, tc := range map[string]struct {
		h    http.HandlerFunc
		want CredentialError
		text string
	}{
		"grant":    {reply(400, `{"error":"invalid_grant","error_description":"`+secret+`"}`), CredentialError{Final: true, Status: 400}, "invalid_grant"},
		"rights":   {reply(403, secret), CredentialError{Final: true, Status: 403}, "403"},
		"rate":     {reply(429, ""), CredentialError{Status: 429}, "429"},
		"trouble":  {reply(503, "<html>"), CredentialError{Status: 503}, "503"},
		"redirect": {http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect).ServeHTTP, CredentialError{Final: true, Status: 307}, "307"},
		"page":     {reply(200, "<html>"+secret), CredentialError{Status: 200}, "no usable reply"},
		"no token": {reply(200, "{}"), CredentialError{Status: 200}, "without an access token"},
		"newline":  {reply(200, `{"access_token":"a\nb"}`), CredentialError{Status: 200}, "without an access token"},
		"hang up":  {hijack(t, "", false), CredentialError{}, "out of reach"},
	} {
		s := serve(t, tc.h)
		_, err := tokenServed(t, accountFile(t, s.URL))
		var got *CredentialError
		if !errors.As(err, &got) || got.Final != tc.want.Final || got.Status != tc.want.Status {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, tc.text) || strings.Contains(text, secret) || !strings.Contains(text, s.Listener.Addr().String()) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestARefusalWithStatus200ShowsNoSecret(t *testing.T) {
	secret := strings.Repeat("secret", 20)
	s := serve(t, reply(200, `{"error":"odd","error_description":"`+secret+`"}`))
	_, err := tokenServed(t, writeFile(t, `{"type":"authorized_user","refresh_token":"x","token_uri":"`+s.URL+`"}`))
	if err == nil || !strings.Contains(err.Error(), "odd") || strings.Contains(err.Error(), secret) {
		t.Error(err)
	}
}

func TestCancelEndsAMint(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, stall("", cancel))
	o, err := CredentialsFile(accountFile(t, s.URL), false)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, s.URL, Config{Credential: o})
	err = c.Warm(ctx)
	var e *CredentialError
	if !errors.As(err, &e) || e.Final || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
