package iidclient

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var accountKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// accountFile writes the key file of a service account, with changes of its
// fields: key, value, key, value.
func accountFile(t testing.TB, tokenURI string, changes ...string) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(accountKey())
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{
		"type":           "service_account",
		"client_email":   "test@example.com",
		"private_key_id": "key-1",
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":      tokenURI,
	}
	for i := 0; i+1 < len(changes); i += 2 {
		fields[changes[i]] = changes[i+1]
	}
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, string(data))
}

func writeGcloudFile(t *testing.T, home, content string) {
	t.Helper()
	dir := filepath.Join(home, ".config", "gcloud")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "application_default_credentials.json"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tokenEndpoint mints token-1, token-2 and so on, for assertions that the account's
// key has signed (RFC 7523).
type tokenEndpoint struct {
	*httptest.Server
	minted atomic.Int32
}

func newTokenEndpoint(t *testing.T) *tokenEndpoint {
	e := new(tokenEndpoint)
	e.Server = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := checkAssertion(r, e.URL); err != nil {
			t.Error(err)
			reply(400, `{"error":"invalid_grant"}`)(w, r)
			return
		}
		reply(200, fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, e.minted.Add(1)))(w, r)
	})
	return e
}

func checkAssertion(r *http.Request, audience string) error {
	if grant := r.PostFormValue("grant_type"); grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return fmt.Errorf("grant_type %q", grant)
	}
	part := strings.Split(r.PostFormValue("assertion"), ".")
	if len(part) != 3 {
		return fmt.Errorf("%d parts in the assertion", len(part))
	}
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if err := rsa.VerifyPKCS1v15(&accountKey().PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return err
	}
	var claims struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	payload, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		return err
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	if claims.Iss != "test@example.com" || claims.Scope != Scope || claims.Aud != audience || claims.Exp <= claims.Iat {
		return fmt.Errorf("claims %+v", claims)
	}
	return nil
}
