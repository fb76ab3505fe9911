package iidclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
)

// mintPress mints token-1, token-2 and so on. In a synctest bubble a mint takes
// one second.
type mintPress struct {
	life   time.Duration // zero for tokens without an end
	err    error
	minted int
	under  atomic.Int32
}

func (p *mintPress) mint(ctx context.Context) (*oauth2.Token, error) {
	if p.under.Add(1) > 1 {
		panic("two mints at once")
	}
	defer p.under.Add(-1)
	p.minted++
	token := &oauth2.Token{AccessToken: fmt.Sprintf("token-%d", p.minted)}
	if p.life > 0 {
		token.Expiry = time.Now().Add(p.life)
	}
	select {
	case <-time.After(time.Second):
		return token, p.err
	case <-ctx.Done():
		return nil, waitEnded(ctx)
	}
}

// authorize returns the token of the next call and its report.
func authorize(t *testing.T, o *OAuth) (string, Report) {
	t.Helper()
	h := http.Header{}
	report, err := o.Authorize(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return h.Get("Authorization"), report
}

func wantToken(t *testing.T, o *OAuth, n int) Report {
	t.Helper()
	got, report := authorize(t, o)
	if got != fmt.Sprintf("Bearer token-%d", n) {
		t.Errorf("got %s, want token-%d", got, n)
	}
	return report
}

func TestManyCallersShareOneMint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &mintPress{life: time.Hour}
		o := newOAuth(p.mint, false)
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() { wantToken(t, o, 1) })
		}
		callers.Wait()
	})
}

func TestManyCallersShareAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &mintPress{err: errors.New("down")}
		o := newOAuth(p.mint, false)
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				if _, err := o.Authorize(t.Context(), http.Header{}); !errors.Is(err, p.err) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if p.minted != 1 {
			t.Errorf("%d mints", p.minted)
		}
	})
}

func TestACallerThatGivesUpDoesNotTakeTheOthersAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &mintPress{life: time.Hour}
		o := newOAuth(p.mint, false)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		var callers sync.WaitGroup
		giveUp := func() {
			if _, err := o.Authorize(impatient, http.Header{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		callers.Go(giveUp) // leads the mint
		synctest.Wait()
		callers.Go(giveUp) // waits for it
		for range 4 {
			callers.Go(func() { wantToken(t, o, 2) })
		}
		callers.Wait()
	})
}

func TestTokensAreRenewedAheadOfTheirEnd(t *testing.T) {
	for _, tc := range []struct{ life, fresh, due time.Duration }{
		{time.Hour, time.Hour - renewAhead - time.Second, renewAhead / 2},
		{5 * time.Second, 2 * time.Second, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOAuth((&mintPress{life: tc.life}).mint, false)
			wantToken(t, o, 1)
			// A mint takes a second of the token's life.
			time.Sleep(tc.fresh - time.Second)
			wantToken(t, o, 1)
			time.Sleep(tc.life - tc.fresh - tc.due)
			var callers sync.WaitGroup
			callers.Go(func() { wantToken(t, o, 2) })
			synctest.Wait()
			wantToken(t, o, 1)
			callers.Wait()
			wantToken(t, o, 2)
		})
	}
}

func TestAFailedRenewalLetsTheOldTokenServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &mintPress{life: time.Hour}
		o := newOAuth(p.mint, false)
		wantToken(t, o, 1)
		time.Sleep(time.Hour - renewAhead)
		p.err = errors.New("down")
		wantToken(t, o, 1)
		wantToken(t, o, 1)
		if p.minted != 2 {
			t.Errorf("%d mints, want a pause after the failed one", p.minted)
		}
		time.Sleep(renewalPause)
		p.err = nil
		wantToken(t, o, 3)
	})
}

func TestAnEndedTokenIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &mintPress{life: time.Hour}
		o := newOAuth(p.mint, false)
		wantToken(t, o, 1)
		time.Sleep(time.Hour)
		p.err = errors.New("down")
		if _, err := o.Authorize(t.Context(), http.Header{}); !errors.Is(err, p.err) {
			t.Error(err)
		}
	})
}

func TestRefusedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOAuth((&mintPress{}).mint, false)
		first, late := wantToken(t, o, 1), wantToken(t, o, 1)
		if !first(401) {
			t.Error("the first 401 is worth another call")
		}
		second := wantToken(t, o, 2)
		if !late(401) {
			t.Error("a late 401 of the old token is worth another call")
		}
		if wantToken(t, o, 2)(503) {
			t.Error("a 503 is no reason for a new token")
		}
		if second(401) {
			t.Error("a 401 of the fresh token is final")
		}
		third := wantToken(t, o, 3)
		if third(401) {
			t.Error("and so is the next")
		}
		wantToken(t, o, 4)(200)
		if !wantToken(t, o, 4)(401) {
			t.Error("after a success a 401 starts over")
		}
		wantToken(t, o, 5)
	})
}

func TestATokenRefusedDuringItsRenewalIsNotBroughtBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &mintPress{life: time.Hour}
		o := newOAuth(p.mint, false)
		old := wantToken(t, o, 1)
		time.Sleep(time.Hour - renewAhead)
		p.err = errors.New("down")
		var renewal sync.WaitGroup
		renewal.Go(func() { o.Authorize(t.Context(), http.Header{}) })
		synctest.Wait()
		old(401)
		renewal.Wait()
		p.err = nil
		wantToken(t, o, 3)
	})
}

// TestABurstOf401CausesOneMint revokes a token while 16 calls are under way, all
// over real connections.
func TestABurstOf401CausesOneMint(t *testing.T) {
	const workers = 16
	e := newTokenEndpoint(t)
	var all sync.WaitGroup
	all.Add(workers)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("access_token_auth") != "true" {
			t.Error("no access_token_auth")
		}
		if r.Header.Get("Authorization") == "Bearer token-1" {
			all.Done()
			all.Wait()
			reply(401, "<html>")(w, r)
			return
		}
		reply(200, `{"results":[{}]}`)(w, r)
	})
	o, err := CredentialsFile(accountFile(t, e.URL), false)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, s.URL, Config{Credential: o})
	if err := c.Warm(t.Context()); err != nil || e.minted.Load() != 1 {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range workers {
		callers.Go(func() {
			_, err := call(t, c, 1)
			var refused *StatusError
			if !errors.As(err, &refused) || refused.Status != 401 || !refused.Refreshed {
				t.Error(err)
			}
			if _, err := call(t, c, 1); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := e.minted.Load(); n != 2 {
		t.Errorf("%d mints, want 2", n)
	}
}

func TestASecond401IsFinal(t *testing.T) {
	e := newTokenEndpoint(t)
	s := serve(t, reply(401, ""))
	o, err := CredentialsFile(accountFile(t, e.URL), false)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, s.URL, Config{Credential: o})
	for _, want := range []bool{true, false, false} {
		_, err := call(t, c, 1)
		var refused *StatusError
		if !errors.As(err, &refused) || refused.Refreshed != want {
			t.Errorf("got %v, want refreshed %t", err, want)
		}
	}
}
