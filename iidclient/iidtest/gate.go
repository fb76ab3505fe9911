package iidtest

import (
	"bufio"
	"net"
	"net/http"
)

// gate calls pass once, before the first byte of an answer leaves or its
// connection is taken over.
type gate struct {
	http.ResponseWriter
	pass   func(status int)
	opened bool
}

var _ http.Hijacker = (*gate)(nil)

func (g *gate) open(status int) {
	if !g.opened {
		g.opened = true
		g.pass(status)
	}
}

// WriteHeader implements http.ResponseWriter.
func (g *gate) WriteHeader(status int) {
	g.open(status)
	g.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (g *gate) Write(b []byte) (int, error) {
	g.open(http.StatusOK)
	return g.ResponseWriter.Write(b)
}

// Hijack implements http.Hijacker.
func (g *gate) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	g.open(0)
	return http.NewResponseController(g.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController flush.
func (g *gate) Unwrap() http.ResponseWriter { return g.ResponseWriter }
