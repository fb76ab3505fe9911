package iidtest

import (
	"fmt"
	"net"
	"net/http"
)

// Reset cuts the connection before the call has any effect.
func Reset() Fault {
	return Fault{Name: "reset", Serve: func(w http.ResponseWriter, _ *http.Request, _ func() Answer) {
		hangUp(w)
	}}
}

// AppliedThenReset carries the call out and cuts the connection instead of
// answering: the caller cannot know.
func AppliedThenReset() Fault {
	return Fault{Name: "applied-reset", Serve: func(w http.ResponseWriter, _ *http.Request, next func() Answer) {
		next()
		hangUp(w)
	}}
}

// Truncated carries the call out, announces the whole answer, and ends the
// connection after the first bytes of the body; never after all of them.
func Truncated(bytes int) Fault {
	name := fmt.Sprintf("truncated+%d", bytes)
	return Fault{Name: name, Serve: func(w http.ResponseWriter, _ *http.Request, next func() Answer) {
		a := next()
		a.sendHeader(w)
		_, _ = w.Write(a.Body[:max(0, min(bytes, len(a.Body)-1))])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}}
}

// Redirected sends the caller to another host, which must never see the bearer
// token.
func Redirected(to string) Fault {
	return Fault{Name: "redirect", Serve: func(w http.ResponseWriter, _ *http.Request, _ func() Answer) {
		a := htmlError(http.StatusTemporaryRedirect)
		a.Header.Set("Location", to)
		a.Send(w)
	}}
}

// hangUp ends the connection with a TCP reset, or where that cannot be had
// (HTTP/2) the stream.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Without lingering, closing sends RST instead of FIN.
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
