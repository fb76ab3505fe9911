package iidclient

import (
	"crypto/ecdh"
	"encoding/base64"
	"net/url"
	"strings"
)

// Subscription is a browser's push subscription (W3C Push API). It can be read with
// encoding/json from what PushSubscription.toJSON gives; that drops the
// expirationTime, which the service refuses.
type Subscription struct {
	Endpoint string           `json:"endpoint"`
	Keys     SubscriptionKeys `json:"keys"`
}

// SubscriptionKeys are the keys of a push subscription, in base64url without
// padding.
type SubscriptionKeys struct {
	Auth   string `json:"auth"`   // authentication secret, 16 bytes (RFC 8291, section 3.2)
	P256DH string `json:"p256dh"` // public key, an uncompressed point on P-256
}

// String hides the keys and the endpoint, with which anybody could send.
func (s Subscription) String() string { return "push subscription" }

// GoString hides what String hides.
func (s Subscription) GoString() string { return s.String() }

// Check returns an [*ArgumentError] for what is no push subscription: an endpoint
// that is no https URL, or a key of another size or shape.
func (s Subscription) Check() error {
	endpoint, err := url.Parse(s.Endpoint)
	auth, authErr := decodeBase64(s.Keys.Auth)
	switch {
	case err != nil || endpoint.Scheme != "https" || endpoint.Host == "" || !sendable(s.Endpoint) || !isToken(s.Endpoint):
		return subscriptionError("its endpoint is no https URL")
	case authErr != nil || len(auth) != 16:
		return subscriptionError("its key auth is not 16 bytes in base64url")
	case !isPoint(s.Keys.P256DH):
		return subscriptionError("its key p256dh is no uncompressed point on P-256 in base64url")
	}
	return nil
}

func subscriptionError(problem string) error {
	return &ArgumentError{Name: "subscription", Problem: problem}
}

// CheckVAPIDKey returns an [*ArgumentError] for what is no public key of an
// application server (RFC 8292): in base64url, 65 bytes that are an uncompressed
// point on P-256, of which the first is 4.
func CheckVAPIDKey(publicKey string) error {
	if isPoint(publicKey) {
		return nil
	}
	return &ArgumentError{
		Name:    "VAPID key",
		Problem: "not a public key: base64url of 65 bytes, an uncompressed point on P-256; the Firebase console shows it under Web Push certificates",
	}
}

func isPoint(text string) bool {
	b, err := decodeBase64(text)
	if err != nil {
		return false
	}
	_, err = ecdh.P256().NewPublicKey(b)
	return err == nil
}

// decodeBase64 takes base64url as browsers write it: without padding, and without
// line breaks, which encoding/base64 would skip.
func decodeBase64(text string) ([]byte, error) {
	if at := strings.IndexAny(text, "\r\n"); at >= 0 {
		return nil, base64.CorruptInputError(at)
	}
	return base64.RawURLEncoding.DecodeString(text)
}
