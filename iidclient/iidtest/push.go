package iidtest

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/url"
	"strings"
)

// PushSubscription is a browser's push subscription, as the method toJSON of the
// W3C Push API writes it, without the expirationTime that the service refuses.
type PushSubscription struct {
	Endpoint string   `json:"endpoint"`
	Keys     PushKeys `json:"keys"`
}

// PushKeys are the keys of a push subscription, in base64url without padding:
// 16 bytes of authentication secret (RFC 8291, section 3.2) and an uncompressed
// point on P-256.
type PushKeys struct {
	Auth   string `json:"auth"`
	P256DH string `json:"p256dh"`
}

// Push makes the nth push subscription of a seed. The same arguments always make
// the same one.
func Push(seed uint64, n int) PushSubscription {
	stream := mix64(seed ^ mix64(uint64(n)))
	return PushSubscription{
		Endpoint: "https://fcm.googleapis.com/fcm/send/" + Token(^seed, n),
		Keys: PushKeys{
			Auth:   base64.RawURLEncoding.EncodeToString(noise(stream, 16)),
			P256DH: point(stream),
		},
	}
}

// VAPIDKey makes an application server's public key of a seed, as the header
// Crypto-Key names it (RFC 8292): an uncompressed point on P-256 in base64url.
func VAPIDKey(seed uint64) string { return point(^seed) }

func point(stream uint64) string {
	private := noise(stream, 32)
	// Below the order of the curve, whatever comes after it.
	private[0] &= 0x7f
	key, err := ecdh.P256().NewPrivateKey(private)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes())
}

func noise(stream uint64, length int) []byte {
	var b []byte
	for at := 0; at < length; at += 8 {
		b = binary.BigEndian.AppendUint64(b, mix64(stream+uint64(at)+1))
	}
	return b
}

func isPoint(text string) bool {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return false
	}
	_, err = ecdh.P256().NewPublicKey(b)
	return err == nil
}

// parsePush takes a subscription and no field more: the real service refuses the
// expirationTime that browsers add. It says what is wrong, if anything is.
func parsePush(body []byte) (p PushSubscription, problem string) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return p, "Invalid JSON payload received. " + strings.TrimPrefix(err.Error(), "json: ")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return p, "Invalid JSON payload received. Text after the value."
	}
	return p, p.problem()
}

func (p PushSubscription) problem() string {
	endpoint, err := url.Parse(p.Endpoint)
	auth, authErr := base64.RawURLEncoding.DecodeString(p.Keys.Auth)
	switch {
	case err != nil || endpoint.Scheme != "https" || endpoint.Host == "":
		return "Invalid endpoint."
	case authErr != nil || len(auth) != 16:
		return "Invalid auth key."
	case !isPoint(p.Keys.P256DH):
		return "Invalid p256dh key."
	}
	return ""
}
