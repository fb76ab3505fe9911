package iidclient

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a service that lives as long as the test.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// reply answers every call the same way.
func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// open makes a client of an endpoint, with a server key unless cfg has more.
func open(t testing.TB, endpoint string, cfg Config) *Client {
	t.Helper()
	cfg.Endpoint = endpoint
	if cfg.Credential == nil {
		cfg.Credential = &ServerKey{header: "key=test"}
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// standIn starts the stand-in for the service, and a client that it admits.
func standIn(t testing.TB, cfg iidtest.Config) (*iidtest.Running, *Client) {
	t.Helper()
	cfg.AnyBearer = true
	service, err := iidtest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	return service, open(t, service.URL, Config{Credential: bearer()})
}

// bearer is a credential with an access token that does not end.
func bearer() *OAuth {
	return newOAuth(func(context.Context) (*oauth2.Token, error) {
		return &oauth2.Token{AccessToken: "test"}, nil
	}, true)
}

// fault is a plan by its text form.
func fault(t testing.TB, text string) iidtest.Plan {
	t.Helper()
	plan, err := iidtest.ParseFault(text)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// call subscribes n tokens to the topic news.
func call(t testing.TB, c *Client, n int) ([]Code, error) {
	t.Helper()
	return c.BatchAdd(t.Context(), "news", testTokens(n))
}

func testTokens(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("dGVzdC1pbnN0YW5jZS0%03d:APA91b%s", i%1000, strings.Repeat("xY7_-", 26))
	}
	return tokens
}

func writeFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
