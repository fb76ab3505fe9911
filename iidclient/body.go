package iidclient

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// body is what a call sends. The transport may still be reading it when the call has returned
// (net/http.RoundTripper): retired, it gives nothing more, and its bytes can be used again.
type body struct {
	mu      sync.Mutex
	bytes   []byte
	retired bool
}

func (b *body) retire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes, b.retired = nil, true
}

// bodyReader reads a body once.
type bodyReader struct {
	*body
	at int
}

var errRetired = errors.New("the call is over")

func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.retired:
		return 0, errRetired
	case r.at == len(r.bytes):
		return 0, io.EOF
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
