package iidclient

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// earlyReader is a transport that replies before it has come to the end of the body, as HTTP allows.
type earlyReader struct {
	leaves int64 // bytes unread
	body   io.Reader
}

func (e *earlyReader) RoundTrip(r *http.Request) (*http.Response, error) {
	e.body = r.Body
	io.CopyN(io.Discard, r.Body, r.ContentLength-e.leaves)
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"results":[{}]}`))}, nil
}

func (*earlyReader) CloseIdleConnections() {}

// TestNobodyReadsABodyAfterItsCall: the bytes are those of the next call by then. The end of a body
// that was sent as a whole is no error, which would cost the connection.
func TestNobodyReadsABodyAfterItsCall(t *testing.T) {
	for leaves, want := range map[int64]error{5: errRetired, 0: nil} {
		early := &earlyReader{leaves: leaves}
		if _, err := call(t, open(t, "https://iid.example", Config{Transport: early}), 1); err != nil {
			t.Fatal(err)
		}
		if left, err := io.ReadAll(early.body); err != want || len(left) != 0 {
			t.Errorf("with %d bytes unread: read %q, %v", leaves, left, err)
		}
	}
}
