package faults

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// Frame types, a flag and an error code of HTTP/2 (RFC 9113, sections 6 and 7).
const (
	frameData, frameReset, frameSettings, frameGoAway = 0, 3, 4, 7

	flagAck       = 1
	refusedStream = 7
)

// preface is what a client begins with (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame is one frame of HTTP/2 (RFC 9113, section 4.1).
type frame struct {
	client      bool // the program sent it, and not the server
	kind, flags byte
	payload     []byte
	raw         []byte // all of it
}

// answers reports whether the frame carries the body of an answer, or a part of it.
func (f frame) answers() bool { return !f.client && f.kind == frameData && len(f.payload) > 0 }

// refuses reports whether the server refuses a stream.
func (f frame) refuses() bool {
	return !f.client && f.kind == frameReset && binary.BigEndian.Uint32(f.payload) == refusedStream
}

// limits reports whether the server says what it takes, as it does when a connection begins.
func (f frame) limits() bool { return !f.client && f.kind == frameSettings && f.flags&flagAck == 0 }

// agrees reports whether the program has taken note of that.
func (f frame) agrees() bool { return f.client && f.kind == frameSettings && f.flags&flagAck != 0 }

// frameRule says what is sent in place of a frame, and whether the connection goes on after it. It is asked by both
// directions of a connection at once.
type frameRule func(frame) (raw []byte, on bool)

// front stands before a server that speaks HTTP/2 without TLS, as front ends do: it speaks TLS, and nothing but HTTP/2.
type front struct {
	listener net.Listener
	to       string
	rule     func() frameRule // for a connection
	all      sync.WaitGroup

	conns, goAways, refusals atomic.Int64

	mu     sync.Mutex
	closed bool
	open   []net.Conn
}

// newFront makes the program call a server, which listens at an address, through a front that the program trusts.
func newFront(t testing.TB, s *fileScene, address string, rule func() frameRule) *front {
	t.Helper()
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	lender.Close()
	cert := filepath.Join(t.TempDir(), "cert.pem")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lender.Certificate().Raw}), 0o600))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: lender.TLS.Certificates, NextProtos: []string{"h2"}})
	must(t, err)
	f := &front{listener: listener, to: address, rule: rule}
	f.all.Go(f.accept)
	t.Cleanup(f.close)
	s.Service.URL = "https://" + listener.Addr().String()
	s.Env = append(s.Env, "SSL_CERT_FILE="+cert)
	return f
}

func (f *front) accept() {
	for {
		program, err := f.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", f.to)
		if err != nil || !f.keep(program, server) {
			program.Close()
			continue
		}
		rule := f.rule()
		f.all.Go(func() {
			begun := make([]byte, len(preface))
			if _, err := io.ReadFull(program, begun); err != nil || string(begun) != preface {
				program.Close()
				server.Close()
				return
			}
			f.conns.Add(1)
			io.WriteString(server, preface)
			f.carry(rule, true, program, server)
		})
		f.all.Go(func() { f.carry(rule, false, server, program) })
	}
}

// carry carries the frames of one direction until the connection ends.
func (f *front) carry(rule frameRule, client bool, from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	for on := true; on; {
		it, err := readFrame(from)
		if err != nil {
			return
		}
		it.client = client
		f.note(it)
		var raw []byte
		raw, on = rule(it)
		if _, err := to.Write(raw); err != nil {
			return
		}
	}
}

// note counts what the server says.
func (f *front) note(it frame) {
	switch {
	case it.client:
	case it.kind == frameGoAway:
		f.goAways.Add(1)
	case it.refuses():
		f.refusals.Add(1)
	}
}

// keep reports whether the connections may be used; they are closed with the front.
func (f *front) keep(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = append(f.open, conns...)
	return !f.closed
}

func (f *front) close() {
	f.listener.Close()
	f.mu.Lock()
	f.closed = true
	for _, conn := range f.open {
		conn.Close()
	}
	f.mu.Unlock()
	f.all.Wait()
}

func readFrame(from io.Reader) (f frame, err error) {
	head := make([]byte, 9)
	if _, err := io.ReadFull(from, head); err != nil {
		return f, err
	}
	f.kind, f.flags = head[3], head[4]
	f.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(from, f.payload); err != nil {
		return f, err
	}
	f.raw = append(head, f.payload...)
	return f, nil
}
