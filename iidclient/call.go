package iidclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	maxReply     = 4 << 20  // decoded bytes of a reply; 1000 results need about 30 KiB
	maxErrorBody = 64 << 10 // decoded bytes of a refused call; the rest is not read
	keepBuffer   = 256 << 10
)

// request is one call.
type request struct {
	name     string // for errors, as a path may hold a token
	method   string
	path     path
	query    string
	body     []byte                  // nil sends none; of a POST, Content-Length: 0
	heard    func(http.Header)       // sees the headers of a reply with status 200; nil sees nothing
	amend    func(http.Header) error // changes the headers of an authorized call; nil leaves them
	verdicts map[int]Code            // what a refusal says of the one token that the call is about; nil for a batch
}

// call makes one call and hands a complete body of a reply with status 200 to
// read. It does not follow redirects, since it uses the transport itself.
func (c *Client) call(ctx context.Context, r request, read func(body []byte) error) error {
	if err := c.exchange(ctx, r, read); err != nil {
		return fmt.Errorf("%s at %s: %w", r.name, c.base.Host, err)
	}
	return nil
}

func (c *Client) exchange(ctx context.Context, r request, read func(body []byte) error) error {
	header := c.header()
	report, err := c.credential.Authorize(ctx, header)
	if err != nil {
		return err
	}
	if r.amend != nil {
		if err := r.amend(header); err != nil {
			return err
		}
	}
	callCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.transport.RoundTrip(c.httpRequest(callCtx, r, header))
	if err != nil {
		return c.lost(ctx, err)
	}
	defer res.Body.Close()

	buf := replyBuffers.Get().(*bytes.Buffer)
	defer keep(buf)
	tooLarge, err := readBody(buf, res)
	if err != nil {
		return c.lost(ctx, err)
	}
	fresh := report(res.StatusCode)
	switch {
	case res.StatusCode != http.StatusOK:
		e := newStatusError(res, buf.Bytes(), time.Now())
		e.Refreshed = fresh
		return e.judge(r.verdicts)
	case tooLarge:
		return &ReplyError{Reason: fmt.Sprintf("more than %d bytes", maxReply)}
	case isHTML(res.Header):
		return &ReplyError{Reason: "a web page instead of JSON"}
	}
	if r.heard != nil {
		r.heard(res.Header)
	}
	return read(buf.Bytes())
}

func (c *Client) header() http.Header {
	return http.Header{
		"Content-Type": {"application/json"},
		"User-Agent":   {c.userAgent},
	}
}

func (c *Client) httpRequest(ctx context.Context, r request, header http.Header) *http.Request {
	u := &url.URL{
		Scheme:   c.base.Scheme,
		Host:     c.base.Host,
		Path:     c.base.Path + r.path.plain,
		RawPath:  c.base.EscapedPath() + r.path.escaped,
		RawQuery: r.query,
	}
	req := &http.Request{Method: r.method, URL: u, Host: u.Host, Header: header}
	if r.body != nil {
		req.ContentLength = int64(len(r.body))
		// HTTP/2 sends a call again that the server is known not to have
		// touched (GOAWAY, REFUSED_STREAM), if it can get the body again.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req.WithContext(ctx)
}

// lost tells a call that ran into its own time limit from one that was cancelled.
func (c *Client) lost(ctx context.Context, err error) error {
	cause := ctx.Err()
	switch {
	case cause != nil && !errors.Is(err, cause):
		err = fmt.Errorf("%w (%v)", cause, err)
	case cause == nil && errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("nothing complete within %s: %w", c.timeout, context.DeadlineExceeded)
	}
	return &TransportError{Err: err}
}

var replyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func keep(buf *bytes.Buffer) {
	if buf.Cap() <= keepBuffer {
		buf.Reset()
		replyBuffers.Put(buf)
	}
}

// readBody reads to the end, so that the connection can be used again, or to one
// byte more than is allowed. The limit counts decoded bytes: what a compressed
// body unpacks to.
func readBody(buf *bytes.Buffer, res *http.Response) (tooLarge bool, err error) {
	limit := int64(maxReply)
	if res.StatusCode != http.StatusOK {
		limit = maxErrorBody
	}
	n, err := buf.ReadFrom(io.LimitReader(res.Body, limit+1))
	return n > limit, err
}
