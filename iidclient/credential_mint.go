package iidclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const mintTimeout = 30 * time.Second

// minter gets access tokens through x/oauth2. It builds a new source for each,
// because the sources keep a token of their own that no 401 could make them drop,
// and are bound to the context that they were built with.
type minter struct {
	source    func(ctx context.Context) (oauth2.TokenSource, error)
	transport *http.Transport
}

func newMinter(source func(context.Context) (oauth2.TokenSource, error)) *minter {
	transport := NewTransport(1)
	// One call an hour is not worth an open connection.
	transport.DisableKeepAlives = true
	return &minter{source: source, transport: transport}
}

func fileSource(data []byte, kind google.CredentialsType) func(context.Context) (oauth2.TokenSource, error) {
	return func(ctx context.Context) (oauth2.TokenSource, error) {
		found, err := google.CredentialsFromJSONWithType(ctx, data, kind, Scope)
		if err != nil {
			return nil, err
		}
		return found.TokenSource, nil
	}
}

func (m *minter) mint(caller context.Context) (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(caller, mintTimeout)
	defer cancel()
	w := &witness{ctx: ctx, next: m.transport}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     w,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	token, err := m.token(ctx)
	switch {
	case caller.Err() != nil:
		return nil, waitEnded(caller)
	case err != nil:
		return nil, w.explain(err)
	case !headerSafe(token.AccessToken):
		return nil, &CredentialError{Status: w.status, Reason: w.host + " answered without an access token; check token_uri"}
	}
	return token, nil
}

func (m *minter) token(ctx context.Context) (*oauth2.Token, error) {
	source, err := m.source(ctx)
	if err != nil {
		return nil, err
	}
	return source.Token()
}

func headerSafe(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// witness is the transport of one mint. It binds every request to the mint's
// context, which x/oauth2 does not always do, and remembers how the last one went,
// because the errors of x/oauth2 have no type for it and quote whole bodies.
type witness struct {
	ctx  context.Context
	next http.RoundTripper

	host   string
	status int // zero if there was no reply
	lost   error
	body   []byte
	header http.Header
}

func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	w.host, w.status, w.body, w.header = r.URL.Host, 0, nil, nil
	res, err := w.next.RoundTrip(r.WithContext(w.ctx))
	if w.lost = err; err != nil {
		return nil, err
	}
	w.status, w.header = res.StatusCode, res.Header
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		w.body, _ = io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
		res.Body = io.NopCloser(bytes.NewReader(w.body))
	}
	return res, nil
}

// explain makes a CredentialError of a failed mint.
func (w *witness) explain(err error) error {
	switch {
	case w.host == "":
		return &CredentialError{Final: true, Reason: "no access token can be asked for: " + cleanText(err.Error())}
	case w.lost != nil:
		return &CredentialError{Reason: fmt.Sprintf("the token endpoint %s is out of reach: %s", w.host, cleanText(w.lost.Error()))}
	case w.status/100 == 2:
		return &CredentialError{Status: w.status, Reason: "the token endpoint " + w.host + " gave no usable reply: " + cleanText(err.Error())}
	}
	e := &CredentialError{Final: isFinal(w.status), Status: w.status}
	e.Reason = fmt.Sprintf("the token endpoint %s answered HTTP %d", w.host, w.status)
	if _, word := errorBody(w.header, w.body); word != "" {
		e.Reason += ": " + word
	}
	if e.Final {
		e.Reason += "; check that the key is not revoked, and the clock"
	}
	return e
}

func isFinal(status int) bool {
	return status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}
