package fcmclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/refusing"
)

// subscribeAll subscribes n tokens, all at a time.
func subscribeAll(t *testing.T, c *Client, n int) {
	t.Helper()
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			if err := c.Subscribe(t.Context(), iidtest.Token(1, i), "news"); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
}

// Hundreds of callers share a few connections, and open no more calls on each than the
// service allows. All are held up until as many as can be are there.
func TestFewConnectionsAndBoundedStreams(t *testing.T) {
	const callers, most = 300, 20
	var under, peak atomic.Int64
	all := make(chan struct{})
	s, service, c := serveTLS(t, most, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := under.Add(1)
			for before := peak.Load(); n > before && !peak.CompareAndSwap(before, n); before = peak.Load() {
			}
			if n == 3*most {
				close(all)
			}
			<-all
			under.Add(-1)
			next.ServeHTTP(w, r)
		})
	})
	subscribeAll(t, c, callers)
	if n := service.Count("news"); n != callers {
		t.Errorf("%d are subscribed", n)
	}
	if got := peak.Load(); got != 3*most {
		t.Errorf("%d calls at a time, want %d", got, 3*most)
	}
	if got := s.connections.Load(); got > 6 {
		t.Errorf("%d connections for %d callers, want 3 or, where one was lost, a few more", got, callers)
	}
}

// Connections that the service ends over and over (GOAWAY) lose no call.
func TestGoAwayLosesNothing(t *testing.T) {
	const callers = 200
	var answers atomic.Int64
	s, service, c := serveTLS(t, 50, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answers.Add(1)%20 == 0 {
				w.Header().Set("Connection", "close") // a GOAWAY in HTTP/2
			}
			next.ServeHTTP(w, r)
		})
	})
	subscribeAll(t, c, callers)
	if n := service.Count("news"); n != callers {
		t.Errorf("%d are subscribed", n)
	}
	if s.connections.Load() < 4 {
		t.Errorf("no more than %d connections: this proves nothing", s.connections.Load())
	}
}

func TestRefusedStreamIsSentAgain(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler()) // lends its certificate
	t.Cleanup(s.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	bodies := make(chan [][]byte, 1)
	go func() { bodies <- refusing.Once(l, "{}") }()
	service, err := iidtest.Start(iidtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	c := open(t, "https://"+l.Addr().String(), login(t, service))
	trust(c, s)
	err = c.Subscribe(t.Context(), "a:b", "news")
	c.Close()
	l.Close()
	if sent := <-bodies; err != nil || fmt.Sprintf("%s", sent) != "[{} {}]" {
		t.Errorf("sent %q: %v", sent, err)
	}
}

// A call that the service may have carried out is not made again behind the caller's back, who
// counts it against a rate.
func TestWhatMayBeDoneIsNotSentAgain(t *testing.T) {
	var s *encrypted
	for name, end := range map[string]func(){
		"stream":     func() {},
		"connection": func() { s.CloseClientConnections() },
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			server, service, c := serveTLS(t, 100, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					calls.Add(1)
					next.ServeHTTP(httptest.NewRecorder(), r)
					end()
					panic(http.ErrAbortHandler) // RST_STREAM
				})
			})
			s = server
			err := c.Subscribe(t.Context(), "a:b", "news")
			if _, lost := errors.AsType[*iidclient.TransportError](err); !lost || calls.Load() != 1 || service.Count("news") != 1 {
				t.Errorf("%d calls, %d subscribed: %v", calls.Load(), service.Count("news"), err)
			}
		})
	}
}
