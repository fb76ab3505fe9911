package iidtest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// Running is a Server that listens.
type Running struct {
	*Server
	// URL is where it is reached, without a slash at the end.
	URL string

	http    http.Server
	serving sync.WaitGroup
	conns   sync.WaitGroup
	close   func() error
	failure error
}

// Start listens on a free port of the loopback interface. The caller must
// Close what it returns.
func Start(config Config) (*Running, error) { return Listen("127.0.0.1:0", config) }

// Listen is Start on a TCP address such as "127.0.0.1:8899". It speaks
// HTTP/1.1 and, to those who begin with it, HTTP/2 without TLS.
func Listen(address string, config Config) (*Running, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("stand-in service: %w", err)
	}
	r := &Running{Server: New(config), URL: "http://" + listener.Addr().String()}
	r.http.Handler = r.Server
	r.http.Protocols = new(http.Protocols)
	r.http.Protocols.SetHTTP1(true)
	r.http.Protocols.SetUnencryptedHTTP2(true)
	r.http.ConnState = r.count
	r.close = sync.OnceValue(r.shut)
	r.serving.Go(func() { r.failure = r.http.Serve(listener) })
	return r, nil
}

// Close stops listening, cuts the connections, and returns when the calls on
// them have ended; one that waits in OnCall is waited for. Closing twice is
// safe. The error is that of the listener, if it failed before.
func (r *Running) Close() error { return r.close() }

func (r *Running) shut() error {
	err := r.http.Close()
	r.serving.Wait()
	r.conns.Wait()
	if errors.Is(r.failure, http.ErrServerClosed) {
		return err
	}
	return errors.Join(err, r.failure)
}

func (r *Running) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		r.conns.Add(1)
	case http.StateHijacked, http.StateClosed:
		r.conns.Done()
	}
}
