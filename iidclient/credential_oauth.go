package iidclient

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

const (
	renewAhead   = time.Minute      // before a token expires, or a quarter of a shorter life
	renewalPause = 10 * time.Second // after a renewal failed while the old token still serves
)

// mintFunc gets a new access token, never one from a cache, and stops when ctx
// is done.
type mintFunc func(ctx context.Context) (*oauth2.Token, error)

// OAuth authorizes calls with OAuth 2.0 access tokens, as "Authorization: Bearer"
// and "access_token_auth: true" of the newer editions of the reference.
// [CredentialsFile] and [DefaultCredentials] make one.
//
// One token is minted at a time. Callers without a valid token wait for it, each
// for as long as its own context allows, and share its failure. The token is
// renewed ahead of its end, meanwhile the others go on with the old one.
//
// The first 401 throws the token away and is worth another call. A token that was
// minted because of a 401, and is refused before any call with it has
// succeeded, is final. Once a call has succeeded, a 401 starts over.
type OAuth struct {
	mint    mintFunc
	plain   bool
	project string

	mu      sync.Mutex
	current *grant    // nil before the first token and after a 401
	flight  *flight   // the mint under way
	refused bool      // the next token answers a 401
	nextTry time.Time // no renewal ahead of time before this
}

var _ Credential = (*OAuth)(nil)

func newOAuth(mint mintFunc, plain bool) *OAuth {
	return &OAuth{mint: mint, plain: plain}
}

// Project is the Google Cloud project that the credential belongs to, or "" if it
// does not say.
func (o *OAuth) Project() string { return o.project }

// grant is one access token and what is known of it.
type grant struct {
	header    string
	renewAt   time.Time // zero for a token without an end
	expires   time.Time
	answers   bool // it was minted because of a 401
	succeeded bool // a call with it got status 200
}

func (g *grant) usable(now time.Time) bool {
	return g != nil && (g.expires.IsZero() || now.Before(g.expires))
}

func (g *grant) due(now time.Time) bool {
	return !g.renewAt.IsZero() && !now.Before(g.renewAt)
}

// flight is one mint and those who wait for it. The fields but done are read
// after done is closed.
type flight struct {
	done      chan struct{}
	grant     *grant
	err       error
	abandoned bool // its caller gave up: says nothing about the credential
}

// PlainHTTP tells whether the tokens come over plain http anyway.
func (o *OAuth) PlainHTTP() bool { return o.plain }

// Authorize sets the headers of a call, with a new token if there is none.
func (o *OAuth) Authorize(ctx context.Context, header http.Header) (Report, error) {
	g, err := o.token(ctx)
	if err != nil {
		return nil, err
	}
	header["Authorization"] = []string{g.header}
	header["access_token_auth"] = []string{"true"}
	return func(status int) bool { return o.report(g, status) }, nil
}

func (o *OAuth) token(ctx context.Context) (*grant, error) {
	for {
		g, f, lead := o.board()
		switch {
		case g != nil:
			return g, nil
		case lead:
			return o.fly(ctx, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, waitEnded(ctx)
		}
		if !f.abandoned {
			return f.grant, f.err
		}
	}
}

// board returns a token to go on with, or the mint to wait for, or a new mint that
// the caller must lead.
func (o *OAuth) board() (g *grant, f *flight, lead bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if g := o.current; g.usable(now) && (!g.due(now) || o.flight != nil || now.Before(o.nextTry)) {
		return g, nil, false
	}
	if o.flight != nil {
		return nil, o.flight, false
	}
	o.flight = &flight{done: make(chan struct{})}
	return nil, o.flight, true
}

func (o *OAuth) fly(ctx context.Context, f *flight) (*grant, error) {
	f.err = &CredentialError{Reason: "minting an access token did not end; this is a bug"}
	defer o.land(f)
	started := time.Now()
	token, err := o.mint(ctx)
	if err != nil {
		return o.missed(ctx, f, err)
	}
	g := &grant{header: "Bearer " + token.AccessToken, expires: token.Expiry}
	if life := token.Expiry.Sub(started); !token.Expiry.IsZero() {
		g.renewAt = token.Expiry.Add(-min(renewAhead, life/4))
	}
	f.grant, f.err = g, nil
	return g, nil
}

// missed lets a failed renewal pass as long as the old token is good. Those who
// wait share the failure: they would not if they had a good token.
func (o *OAuth) missed(ctx context.Context, f *flight, err error) (*grant, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.err, f.abandoned = err, ctx.Err() != nil
	now := time.Now()
	if g := o.current; g.usable(now) {
		o.nextTry = now.Add(renewalPause)
		return g, nil
	}
	return nil, err
}

func (o *OAuth) land(f *flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flight = nil
	if f.grant != nil {
		f.grant.answers = o.refused
		o.current, o.refused = f.grant, false
	}
	close(f.done)
}

// report drops a refused token if it is still the current one, so that many calls
// refused at once cause one mint.
func (o *OAuth) report(g *grant, status int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if status == http.StatusOK {
		g.succeeded = true
	}
	if status != http.StatusUnauthorized {
		return false
	}
	if o.current == g {
		o.current, o.refused = nil, true
	}
	return !g.answers || g.succeeded
}

func waitEnded(ctx context.Context) error {
	return &CredentialError{Reason: "waiting for an access token: " + ctx.Err().Error(), Err: ctx.Err()}
}
