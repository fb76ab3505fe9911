package iidclient

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// WebImport makes a registration token of a browser's push subscription:
// POST /v1/web/iid. The VAPID key is the application server's public one, see
// [CheckVAPIDKey]. The web calls want an OAuth credential; with a [ServerKey]
// they end in a [*CredentialError]. The live service has refused them since June
// 2024; stand-ins still take them.
//
// A key or subscription that its check refuses is an [*ArgumentError] before any
// call. A [*TokenError] is about the subscription (or the key: a 400 does not say),
// and its code is CodeInvalidArgument or CodePermissionDenied. The other errors
// are those of [Client.BatchAdd].
func (c *Client) WebImport(ctx context.Context, vapidPublicKey string, s Subscription) (token string, err error) {
	return c.bringPush(ctx, vapidPublicKey, s, Request{
		Name:  "web import",
		Path:  []string{"/v1/web/iid"},
		Judge: judge(pushVerdicts),
	})
}

// WebRefresh replaces the push subscription of a registration token:
// POST /v1/web/iid/TOKEN:refresh. What it returns is the token from then on: the
// same, or a new one. See [Client.WebImport] for the rest; here a
// [*TokenError] is about the token, and may have CodeNotFound.
func (c *Client) WebRefresh(ctx context.Context, vapidPublicKey, token string, s Subscription) (newToken string, err error) {
	if err := CheckToken(token); err != nil {
		return "", err
	}
	return c.bringPush(ctx, vapidPublicKey, s, Request{
		Name:  "web refresh",
		Path:  []string{"/v1/web/iid/", token, ":refresh"},
		Judge: judge(tokenVerdicts),
	})
}

// WebDelete removes the push subscription of a registration token from FCM:
// DELETE /v1/web/iid/TOKEN. The browser keeps it. A token that is gone already is
// a [*TokenError] with CodeNotFound, which a call after one whose reply was
// lost must expect. See [Client.WebImport] for the other errors.
func (c *Client) WebDelete(ctx context.Context, token string) error {
	if err := CheckToken(token); err != nil {
		return err
	}
	r := Request{
		Name:   "web delete",
		Method: http.MethodDelete,
		Path:   []string{"/v1/web/iid/", token},
		Amend:  BearerOnly,
		Judge:  judge(tokenVerdicts),
	}
	return c.Do(ctx, r, decodeEmpty)
}

// bringPush completes a request that brings a push subscription, and makes it.
func (c *Client) bringPush(ctx context.Context, key string, s Subscription, r Request) (token string, err error) {
	if err := CheckVAPIDKey(key); err != nil {
		return "", err
	}
	if err := s.Check(); err != nil {
		return "", err
	}
	r.Method = http.MethodPost
	if r.Body, err = json.Marshal(s); err != nil {
		return "", err
	}
	r.Amend = func(header http.Header) error {
		header.Set("Crypto-Key", "p256ecdsa="+key)
		return BearerOnly(header)
	}
	err = c.Do(ctx, r, func(body []byte) (err error) {
		token, err = decodeToken(body)
		return err
	})
	return token, err
}

// BearerOnly makes the headers of /iid/* those of calls that take an access token and do
// not know access_token_auth, however a [Credential] spells it. It is a Request.Amend, and
// returns a [*CredentialError] for a [ServerKey].
func BearerOnly(header http.Header) error {
	if !strings.HasPrefix(header.Get("Authorization"), "Bearer ") {
		return &CredentialError{Final: true, Reason: "these calls want an access token, not a server key; use a service account"}
	}
	delete(header, "access_token_auth")
	header.Del("access_token_auth")
	return nil
}
