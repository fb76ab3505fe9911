package fcmclient

import (
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// standIn starts the stand-in for the service, and a client of its project.
func standIn(t testing.TB, cfg iidtest.Config) (*iidtest.Running, *Client) {
	t.Helper()
	service, err := iidtest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	return service, open(t, service.URL, login(t, service))
}

// login is a credential of a stand-in.
func login(t testing.TB, service *iidtest.Running) *iidclient.OAuth {
	t.Helper()
	path := filepath.Join(t.TempDir(), "service-account.json")
	if err := os.WriteFile(path, service.CredentialsJSON(service.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	credential, err := iidclient.CredentialsFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// project is that of a stand-in's credentials.
func project(t testing.TB) string {
	t.Helper()
	var file struct {
		Project string `json:"project_id"`
	}
	if err := json.Unmarshal(iidtest.New(iidtest.Config{}).CredentialsJSON(""), &file); err != nil {
		t.Fatal(err)
	}
	return file.Project
}

func open(t testing.TB, endpoint string, credential iidclient.Credential) *Client {
	t.Helper()
	c, err := New(Config{Endpoint: endpoint, Credential: credential, Project: project(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// encrypted is a stand-in behind TLS and HTTP/2, as the service is. It counts connections.
type encrypted struct {
	*httptest.Server
	connections atomic.Int64
}

// serveTLS starts it, with h in front of the stand-in, and a client that trusts it.
func serveTLS(t testing.TB, streams int, h func(http.Handler) http.Handler) (*encrypted, *iidtest.Running, *Client) {
	t.Helper()
	service, err := iidtest.Start(iidtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	s := &encrypted{Server: httptest.NewUnstartedServer(h(service))}
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c := open(t, s.URL, login(t, service))
	trust(c, s.Server)
	return s, service, c
}

// trust makes a client accept the certificate of a test server.
func trust(c *Client, s *httptest.Server) {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c.lanes[0].transport.TLSClientConfig.RootCAs = roots // they have one in common
}
