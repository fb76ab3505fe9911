package iidtest_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

const scope = "https://www.googleapis.com/auth/firebase.messaging"

func TestAuthorizationIsDemanded(t *testing.T) {
	for name, test := range map[string]struct {
		config                iidtest.Config
		authorization, access string
		status                int
	}{
		"none":               {iidtest.Config{AnyBearer: true}, "", "", 401},
		"no access header":   {iidtest.Config{AnyBearer: true}, "Bearer x", "", 401},
		"access header no":   {iidtest.Config{AnyBearer: true}, "Bearer x", "false", 401},
		"empty bearer":       {iidtest.Config{AnyBearer: true}, "Bearer ", "true", 401},
		"basic":              {iidtest.Config{AnyBearer: true}, "Basic x", "true", 401},
		"any bearer":         {iidtest.Config{AnyBearer: true}, "Bearer x", "true", 200},
		"lower case":         {iidtest.Config{AnyBearer: true}, "bearer x", "True", 200},
		"unknown bearer":     {iidtest.Config{}, "Bearer x", "true", 401},
		"key":                {iidtest.Config{ServerKey: "AIza"}, "key=AIza", "", 200},
		"wrong key":          {iidtest.Config{ServerKey: "AIza"}, "key=AIzb", "", 401},
		"key not on":         {iidtest.Config{}, "key=", "", 401},
		"key for any bearer": {iidtest.Config{AnyBearer: true}, "key=x", "true", 401},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, test.config)
			c.header.Set("Authorization", test.authorization)
			c.header.Set("Access_token_auth", test.access)
			got := c.add("t", "x")
			if got.status != test.status || got.status == 401 && !strings.HasPrefix(got.body, "<!DOCTYPE html>") {
				t.Errorf("%v", got)
			}
			if applied := c.service.Count("t") == 1; applied != (test.status == 200) {
				t.Errorf("applied: %v", applied)
			}
		})
	}
}

func TestGoogleLibraryLogsIn(t *testing.T) {
	now := time.Now()
	c := start(t, iidtest.Config{TokenLife: 5 * time.Second, Now: func() time.Time { return now }})
	token, err := login(t, c, credentials(t, c))
	if err != nil {
		t.Fatal(err)
	}
	c.header.Set("Authorization", "Bearer "+token.AccessToken)
	if got := c.add("t", "x"); got.status != 200 {
		t.Errorf("fresh: %v", got)
	}
	now = now.Add(5 * time.Second)
	if got := c.add("t", "x"); got.status != 401 {
		t.Errorf("expired: %v", got)
	}
	token, err = login(t, c, credentials(t, c))
	if err != nil {
		t.Fatal(err)
	}
	c.header.Set("Authorization", "Bearer "+token.AccessToken)
	c.service.RevokeTokens()
	if got := c.add("t", "x"); got.status != 401 {
		t.Errorf("revoked: %v", got)
	}
}

func credentials(t testing.TB, c *caller) *jwt.Config {
	t.Helper()
	config, err := google.JWTConfigFromJSON(c.service.CredentialsJSON(c.service.URL), scope)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func login(t testing.TB, c *caller, config *jwt.Config) (*oauth2.Token, error) {
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, c.client)
	return config.TokenSource(ctx).Token()
}

func TestWrongAssertionsAreRefused(t *testing.T) {
	now := time.Now()
	c := start(t, iidtest.Config{Now: func() time.Time { return now }})
	other := start(t, iidtest.Config{})
	for name, test := range map[string]struct {
		spoil func(*jwt.Config)
		code  string
		text  string
	}{
		"key":      {func(j *jwt.Config) { j.PrivateKey = credentials(t, other).PrivateKey }, "invalid_grant", "Invalid JWT Signature."},
		"key ID":   {func(j *jwt.Config) { j.PrivateKeyID = "other" }, "invalid_grant", "Invalid JWT Signature."},
		"account":  {func(j *jwt.Config) { j.Email = "who@example.com" }, "invalid_grant", "Invalid grant: account not found"},
		"audience": {func(j *jwt.Config) { j.Audience = "https://oauth2.example.com/token" }, "invalid_grant", "Invalid JWT: Failed audience check."},
		"scope":    {func(j *jwt.Config) { j.Scopes = []string{scope + ".not"} }, "invalid_scope", "Invalid OAuth scope or ID token audience provided."},
		"expired":  {func(*jwt.Config) { now = now.Add(61 * time.Minute) }, "invalid_grant", "Invalid JWT: Token must be a short-lived"},
		"too long": {func(j *jwt.Config) { j.Expires = 3 * time.Hour }, "invalid_grant", "Invalid JWT: Token must be a short-lived"},
	} {
		t.Run(name, func(t *testing.T) {
			now = time.Now()
			config := credentials(t, c)
			test.spoil(config)
			_, err := login(t, c, config)
			var refused *oauth2.RetrieveError
			if !errors.As(err, &refused) {
				t.Fatalf("not refused: %v", err)
			}
			var body struct {
				Code string `json:"error"`
				Text string `json:"error_description"`
			}
			err = json.Unmarshal(refused.Body, &body)
			if err != nil || refused.Response.StatusCode != http.StatusBadRequest || body.Code != test.code || !strings.HasPrefix(body.Text, test.text) {
				t.Errorf("%d %s", refused.Response.StatusCode, refused.Body)
			}
		})
	}
}

// Google's SDKs do not all ask as the reference says.
func TestLoginsOfSDKs(t *testing.T) {
	c := start(t, iidtest.Config{})
	for name, change := range map[string]func(*jwt.Config){
		"Go":   func(j *jwt.Config) { j.Scopes = []string{"https://www.googleapis.com/auth/cloud-platform", "x"} },
		"Node": func(j *jwt.Config) { j.Audience = "https://oauth2.googleapis.com/token" },
	} {
		config := credentials(t, c)
		change(config)
		if _, err := login(t, c, config); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGrantsThatAreNone(t *testing.T) {
	c := start(t, iidtest.Config{})
	c.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	jwt := "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="
	for body, code := range map[string]string{
		"":                    "unsupported_grant_type",
		"%":                   "invalid_request",
		"grant_type=password": "unsupported_grant_type",
		jwt:                   "invalid_grant",
		jwt + "a.b.c":         "invalid_grant",
		jwt + "e30.e30.":      "invalid_grant",
	} {
		if got := c.post("/token", body); got.status != 400 || !strings.Contains(got.body, `"error":"`+code+`"`) {
			t.Errorf("%q: %v", body, got)
		}
	}
}

// What the library never signs: the key is right and the rest is not.
func TestForgedAssertionsAreRefused(t *testing.T) {
	c := start(t, iidtest.Config{})
	config := credentials(t, c)
	block, _ := pem.Decode(config.PrivateKey)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	for name, test := range map[string]struct {
		algorithm string
		issued    int64
		status    int
	}{
		"sound":     {"RS256", now, 200},
		"algorithm": {"HS256", now, 400},
		"future":    {"RS256", now + 1200, 400},
	} {
		assertion := signed(t, key.(*rsa.PrivateKey), map[string]any{"alg": test.algorithm, "typ": "JWT"}, map[string]any{
			"iss": config.Email, "aud": config.TokenURL, "scope": scope, "iat": test.issued, "exp": test.issued + 600,
		})
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
		if got := c.post("/token", form.Encode()); got.status != test.status {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// signed is a JSON web token (RFC 7519), signed with RS256 whatever its header
// says.
func signed(t *testing.T, key *rsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	body := strings.Join(parts, ".")
	digest := sha256.Sum256([]byte(body))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return body + "." + base64.RawURLEncoding.EncodeToString(signature)
}
