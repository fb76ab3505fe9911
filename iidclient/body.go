package iidclient

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// body is what a call sends. The transport may still read it after the call has returned
// (net/http.RoundTripper). Once retired it gives nothing more, and its bytes can be used again.
type body struct {
	size int

	mu    sync.Mutex
	bytes []byte // nil: retired
}

func newBody(bytes []byte) *body { return &body{size: len(bytes), bytes: bytes} }

func (b *body) retire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes = nil
}

// bodyReader reads a body once.
type bodyReader struct {
	*body
	at int
}

var errRetired = errors.New("the call is over")

// Read ends as usual when all has been read, though the body is retired: net/http looks for the
// end when it has sent everything, and closes the connection if it finds an error there.
func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.at == r.size:
		return 0, io.EOF
	case r.bytes == nil:
		return 0, errRetired
	}
	n := copy(p, r.bytes[r.at:])
	r.at += n
	return n, nil
}

// keepBuffer is how large a buffer is kept: larger ones are seldom needed.
const keepBuffer = 256 << 10

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func newBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func keep(buf *bytes.Buffer) {
	if buf.Cap() <= keepBuffer {
		buf.Reset()
		buffers.Put(buf)
	}
}
