package iidclient

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// earlyReader is a transport that replies before it has read the body, as HTTP allows.
type earlyReader struct{ body io.Reader }

func (e *earlyReader) RoundTrip(r *http.Request) (*http.Response, error) {
	e.body = r.Body
	io.ReadFull(r.Body, make([]byte, 5))
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"results":[{}]}`))}, nil
}

func (*earlyReader) CloseIdleConnections() {}

// TestNobodyReadsABodyAfterItsCall: the bytes are those of the next call by then.
func TestNobodyReadsABodyAfterItsCall(t *testing.T) {
	early := new(earlyReader)
	if _, err := call(t, open(t, "https://iid.example", Config{Transport: early}), 1); err != nil {
		t.Fatal(err)
	}
	if left, err := io.ReadAll(early.body); err != errRetired || len(left) != 0 {
		t.Errorf("read %q, %v", left, err)
	}
}
