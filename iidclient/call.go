package iidclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	maxReply     = 4 << 20  // decoded bytes of a reply; 1000 results need about 30 KiB
	maxErrorBody = 64 << 10 // decoded bytes of a refused call; the rest is not read
)

// Request is one call, for [Client.Do].
type Request struct {
	Name   string // for errors, as a path may hold a token
	Method string
	Path   []string // literal text and data, in turns; data is one segment, whatever it contains
	Query  string
	Body   []byte                  // nil sends none (a POST then has Content-Length: 0). It is not read after Do has returned
	Heard  func(http.Header)       // sees the headers of a reply with status 200; nil sees nothing
	Amend  func(http.Header) error // changes the headers of an authorized call; nil leaves them
	// Judge says what a refusal means. It must not keep the body. A nil error says that
	// the call has done its work. Without a Judge a refusal is a [*StatusError].
	Judge func(e *StatusError, body []byte) error
}

// Do makes one call and hands a complete body of a reply with status 200 to read, which
// must not keep it. It does not follow redirects, since it uses the transport itself.
//
// It is the way of all methods of the Client, and for packages of other APIs of
// Google's that are authorized alike. Errors are those of [Client.BatchAdd], and what
// read and Request.Judge return.
func (c *Client) Do(ctx context.Context, r Request, read func(body []byte) error) error {
	if err := c.exchange(ctx, r, read); err != nil {
		return fmt.Errorf("%s at %s: %w", r.Name, c.base.Host, err)
	}
	return nil
}

func (c *Client) exchange(ctx context.Context, r Request, read func(body []byte) error) error {
	header := c.header()
	report, err := c.credential.Authorize(ctx, header)
	if err != nil {
		return err
	}
	if r.Amend != nil {
		if err := r.Amend(header); err != nil {
			return err
		}
	}
	callCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body := newBody(r.Body)
	defer body.retire()
	res, err := c.transport.RoundTrip(c.httpRequest(callCtx, r, header, body))
	if err != nil {
		return c.lost(ctx, err)
	}
	defer res.Body.Close()

	buf := newBuffer()
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
		if r.Judge == nil {
			return e
		}
		return r.Judge(e, buf.Bytes())
	case tooLarge:
		return &ReplyError{Reason: fmt.Sprintf("more than %d bytes", maxReply)}
	case isHTML(res.Header):
		return &ReplyError{Reason: "a web page instead of JSON"}
	}
	if r.Heard != nil {
		r.Heard(res.Header)
	}
	return read(buf.Bytes())
}

func (c *Client) header() http.Header {
	return http.Header{
		"Content-Type": {"application/json"},
		"User-Agent":   {c.userAgent},
	}
}

func (c *Client) httpRequest(ctx context.Context, r Request, header http.Header, body *body) *http.Request {
	plain, escaped := joinPath(r.Path)
	u := &url.URL{
		Scheme:   c.base.Scheme,
		Host:     c.base.Host,
		Path:     c.base.Path + plain,
		RawPath:  c.base.EscapedPath() + escaped,
		RawQuery: r.Query,
	}
	req := &http.Request{Method: r.Method, URL: u, Host: u.Host, Header: header}
	if r.Body != nil {
		req.ContentLength = int64(len(r.Body))
		// net/http sends a call again that the server is known not to have touched
		// (GOAWAY, REFUSED_STREAM, nothing written), if it can get the body again.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&bodyReader{body: body}), nil }
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
