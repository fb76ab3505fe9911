package iidclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hole passes connections on, until those that are open fall silent: nothing comes through any more, and nobody is
// told.
type hole struct {
	net.Listener
	to     string
	silent atomic.Int64 // connections that were made so far are
	made   atomic.Int64
	open   sync.WaitGroup
	done   chan struct{}
}

func newHole(t *testing.T, to string) *hole {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hole{Listener: l, to: to, done: make(chan struct{})}
	h.open.Go(h.accept)
	t.Cleanup(func() {
		close(h.done)
		l.Close()
		h.open.Wait()
	})
	return h
}

func (h *hole) accept() {
	for {
		near, err := h.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", h.to)
		if err != nil {
			near.Close()
			continue
		}
		number := h.made.Add(1)
		h.open.Go(func() { h.carry(number, near, far) })
		h.open.Go(func() { h.carry(number, far, near) })
		h.open.Go(func() {
			<-h.done
			near.Close()
			far.Close()
		})
	}
}

func (h *hole) carry(number int64, from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if number <= h.silent.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// A connection that has died in silence is found by a ping and left, where the next calls would else wait on it one by
// one.
func TestADeadConnectionIsFound(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		reply(200, `{"results":[{}]}`)(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	h := newHole(t, s.Listener.Addr().String())
	c := open(t, "https://"+h.Addr().String(), Config{})
	trust(c, s)
	transport := c.transport.(*http.Transport)
	found := transport.HTTP2.SendPingTimeout + transport.HTTP2.PingTimeout
	if found > 30*time.Second || transport.HTTP2.WriteByteTimeout > 30*time.Second {
		t.Errorf("a dead connection is found after %v", found)
	}
	transport.HTTP2.SendPingTimeout, transport.HTTP2.PingTimeout = 50*time.Millisecond, 50*time.Millisecond
	if _, err := call(t, c, 1); err != nil {
		t.Fatal(err)
	}
	h.silent.Store(h.made.Load())
	if _, err := call(t, c, 1); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on a dead connection: %v", err)
	}
	if _, err := call(t, c, 1); err != nil || h.made.Load() != 2 {
		t.Errorf("after %d connections: %v", h.made.Load(), err)
	}
}

// A proxy sees the host, and neither the bearer token nor its own password is shown.
func TestAProxyLearnsNothing(t *testing.T) {
	var asked atomic.Pointer[http.Request]
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		http.Error(w, "no", http.StatusForbidden)
	})
	c := open(t, "https://service.invalid", Config{})
	address, err := url.Parse(strings.Replace(proxy.URL, "http://", "http://user:proxy-password@", 1))
	if err != nil {
		t.Fatal(err)
	}
	c.transport.(*http.Transport).Proxy = http.ProxyURL(address) // what ProxyFromEnvironment makes of HTTPS_PROXY, which it reads once for a process
	_, err = call(t, c, 1)
	if r := asked.Load(); r == nil || r.Method != http.MethodConnect || r.Host != "service.invalid:443" || r.Header.Get("Authorization") != "" {
		t.Fatalf("the proxy was asked %+v", r)
	}
	if err == nil || strings.Contains(err.Error(), "proxy-password") || strings.Contains(err.Error(), "key=test") {
		t.Errorf("through a proxy that refuses: %v", err)
	}
}
