package fcmclient

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// lane is one connection at a time: it is opened when it is needed, by one caller for
// all, and replaced when it takes no more calls.
type lane struct {
	transport *http.Transport
	under     atomic.Int64  // calls that wait for an answer or for their turn
	turn      chan struct{} // in the hands of the one that opens a connection

	mu   sync.Mutex
	conn *conn // nil: there is none
}

// conn is a connection, with how many calls are on it.
type conn struct {
	*http.ClientConn
	calls   int
	retired bool // it takes no more calls, and is closed after the last
}

// untouchedError is a call that the service is known not to have touched.
type untouchedError struct {
	error
	refused bool // by the service, which ended the one stream; the connection is as it was
}

func (e *untouchedError) Unwrap() error { return e.error }

// streamError has the fields of net/http's error of that name, which lets errors.As fill
// such a struct.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "" }

// refused reports whether the service has not begun with the stream: REFUSED_STREAM (RFC 9113, section
// 8.7), or PROTOCOL_ERROR, which some say of one that is too many (5.1.2).
func (e streamError) refused() bool {
	return e.Code == 7 || e.Code == 1 && e.Cause != nil && e.Cause.Error() == "received from peer"
}

// neverBegun are net/http's errors of a call for which a connection was closed before it was
// sent, and of one beyond the last that a GOAWAY tells of. It has no other names for them.
var neverBegun = []string{
	"http2: client conn could not be established", "http2: client conn not usable",
	"http2: Transport received Server's graceful shutdown GOAWAY",
}

// roundTrip makes one call. Where the service allows no more at a time, the call waits. An
// error is an untouchedError if the call may be sent again without being carried out twice.
func (l *lane) roundTrip(r *http.Request) (*http.Response, error) {
	l.under.Add(1)
	defer l.under.Add(-1)
	c, err := l.board(r)
	if err != nil {
		return nil, err
	}
	res, err := c.RoundTrip(r)
	if err != nil {
		stream, ended := errors.AsType[streamError](err)
		if !ended && r.Context().Err() == nil {
			l.retire(c)
		}
		l.leave(c)
		if refused := ended && stream.refused(); refused || slices.Contains(neverBegun, err.Error()) {
			err = &untouchedError{err, refused}
		}
		return nil, err
	}
	res.Body = &body{ReadCloser: res.Body, leave: sync.OnceFunc(func() { l.leave(c) })}
	return res, nil
}

// board takes the connection for one call, and opens it if there is none.
func (l *lane) board(r *http.Request) (*conn, error) {
	if c := l.aboard(); c != nil {
		return c, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if c := l.aboard(); c != nil {
		return c, nil
	}
	opened, err := l.transport.NewClientConn(r.Context(), r.URL.Scheme, address(r))
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = &conn{ClientConn: opened, calls: 1}
	return l.conn, nil
}

// aboard takes the connection that is there for one call, or returns nil.
func (l *lane) aboard() *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.Err() != nil {
		l.conn = nil
	}
	if l.conn != nil {
		l.conn.calls++
	}
	return l.conn
}

func (l *lane) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.calls--
	l.closeUnused(c)
}

// retire gives the connection no more calls: c if it is that still, or with nil whichever
// it is.
func (l *lane) retire(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || c != nil && c != l.conn {
		return
	}
	c, l.conn = l.conn, nil
	c.retired = true
	l.closeUnused(c)
}

func (l *lane) closeUnused(c *conn) {
	if c.retired && c.calls == 0 {
		c.Close()
	}
}

// body is that of a reply: when it is closed, the call has left its connection.
type body struct {
	io.ReadCloser
	leave func()
}

// Close closes the body.
func (b *body) Close() error {
	defer b.leave()
	return b.ReadCloser.Close()
}
