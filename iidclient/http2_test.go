package iidclient

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/bulksub/bulksub/internal/refusing"
)

// trust makes a client accept the certificate of a test server.
func trust(c *Client, s *httptest.Server) {
	c.transport.(*http.Transport).TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

func TestHTTP2IsUsedAndSurvivesGoAway(t *testing.T) {
	proto := ""
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		proto = r.Proto
		w.Header().Set("Connection", "close") // a GOAWAY in HTTP/2
		reply(200, `{"results":[{}]}`)(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c := open(t, s.URL, Config{})
	trust(c, s)
	for range 5 {
		if _, err := call(t, c, 1); err != nil || proto != "HTTP/2.0" {
			t.Fatal(proto, err)
		}
	}
}

// Nothing is said to a server that speaks only what is older than TLS 1.2, or whose certificate nobody vouches for.
func TestOnlyProvenServersAreTold(t *testing.T) {
	for name, test := range map[string]struct {
		newest  uint16
		trusted bool
		told    bool
	}{
		"TLS 1.1":               {tls.VersionTLS11, true, false},
		"TLS 1.2":               {tls.VersionTLS12, true, true},
		"TLS 1.3":               {tls.VersionTLS13, true, true},
		"a certificate unknown": {tls.VersionTLS13, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var greeted, told atomic.Int64
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				told.Add(1)
				reply(200, `{"results":[{}]}`)(w, r)
			}))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: test.newest, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				greeted.Add(1)
				return nil, nil
			}}
			s.StartTLS()
			t.Cleanup(s.Close)
			c := open(t, s.URL, Config{})
			if test.trusted {
				trust(c, s)
			}
			if _, err := call(t, c, 1); (err == nil) != test.told || told.Load() > 0 != test.told {
				t.Errorf("told %d times: %v", told.Load(), err)
			}
			if greeted.Load() == 0 {
				t.Error("the server was never greeted: this proves nothing")
			}
		})
	}
}

// TestRefusedStreamIsSentAgainWhole answers the first stream with REFUSED_STREAM
// and the second with success (RFC 9113, section 8.7: not processed, safe to retry).
func TestRefusedStreamIsSentAgainWhole(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler()) // lends its certificate
	t.Cleanup(s.Close)
	config := &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make(chan [][]byte, 1)
	go func() { bodies <- refusing.Once(l, `{"results":[{},{},{}]}`) }()

	c := open(t, "https://"+l.Addr().String(), Config{})
	trust(c, s)
	codes, err := call(t, c, 3)
	c.Close()
	l.Close()
	sent := <-bodies
	if err != nil || len(codes) != 3 {
		t.Fatalf("got %q, %v", codes, err)
	}
	want := encodeBatch(new(bytes.Buffer), "news", testTokens(3))
	if len(sent) != 2 || !bytes.Equal(sent[0], want) || !bytes.Equal(sent[1], want) {
		t.Errorf("sent %d bodies: %q", len(sent), sent)
	}
}
