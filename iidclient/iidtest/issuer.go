package iidtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"sync"
	"time"
)

const (
	projectID   = "bulksub-stand-in"
	clientEmail = "bulksub@" + projectID + ".iam.gserviceaccount.com"
	keyID       = "5374616e642d696e206b6579206f6e6c792e2e2e"
)

// CredentialsJSON is a service account file, as the Google console hands them
// out, for a client that reaches the stand-in at url. The key in it is made
// once per Server, and opens nothing else.
func (s *Server) CredentialsJSON(url string) []byte { return s.issuer.credentials(url) }

// RevokeTokens makes all access tokens granted so far invalid.
func (s *Server) RevokeTokens() { s.issuer.revoke() }

// issuer is the account, its key, and the access tokens granted to it.
type issuer struct {
	life time.Duration
	key  func() *rsa.PrivateKey

	mu        sync.Mutex
	audiences map[string]bool
	granted   map[string]time.Time
}

func newIssuer(life time.Duration) *issuer {
	return &issuer{
		life:      life,
		key:       sync.OnceValue(newKey),
		audiences: map[string]bool{},
		granted:   map[string]time.Time{},
	}
}

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func (i *issuer) credentials(url string) []byte {
	audience := url + "/token"
	i.mu.Lock()
	i.audiences[audience] = true
	i.mu.Unlock()
	key, err := x509.MarshalPKCS8PrivateKey(i.key())
	if err != nil {
		panic(err)
	}
	file, err := json.MarshalIndent(map[string]string{
		"type":           "service_account",
		"project_id":     projectID,
		"private_key_id": keyID,
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"client_email":   clientEmail,
		"client_id":      "100000000000000000000",
		"token_uri":      audience,
	}, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(file, '\n')
}

func (i *issuer) expects(audience string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.audiences[audience]
}

func (i *issuer) grant(now time.Time) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.DeleteFunc(i.granted, func(_ string, end time.Time) bool { return !now.Before(end) })
	token := "ya29." + rand.Text() + rand.Text()
	i.granted[token] = now.Add(i.life)
	return token
}

func (i *issuer) admits(token string, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return now.Before(i.granted[token])
}

func (i *issuer) revoke() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.granted)
}
