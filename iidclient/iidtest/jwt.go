package iidtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// scopes are those that the service accepts: its own, and the one that Google's
// SDKs for Go and Python ask for.
var scopes = []string{
	"https://www.googleapis.com/auth/firebase.messaging",
	"https://www.googleapis.com/auth/cloud-platform",
}

// googleAudience is what Google's SDKs for Node and Python say that an assertion is
// for, whatever the token_uri of the credentials file.
const googleAudience = "https://oauth2.googleapis.com/token"

// clockSkew is how far the clocks of caller and service may differ.
const clockSkew = 5 * time.Minute

// claims is what an assertion says (RFC 7523, and Google's "Using OAuth 2.0
// for Server to Server Applications").
type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Scope    string `json:"scope"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

var (
	errShape     = errors.New("not a JWT")
	errSignature = errors.New("wrong signature")
)

// verify returns nil for an assertion that deserves an access token. The
// refusals have the words of Google's endpoint.
func (i *issuer) verify(assertion string, now time.Time) *Answer {
	c, err := readJWT(assertion, &i.key().PublicKey)
	code, text := "invalid_grant", ""
	switch {
	case err == errShape:
		text = "Bad Request"
	case c.Issuer != clientEmail:
		text = "Invalid grant: account not found"
	case err == errSignature:
		text = "Invalid JWT Signature."
	case c.Audience != googleAudience && !i.expects(c.Audience):
		text = "Invalid JWT: Failed audience check."
	case !c.timely(now):
		text = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. " +
			"Check your iat and exp values in the JWT claim."
	case !slices.ContainsFunc(strings.Fields(c.Scope), func(s string) bool { return slices.Contains(scopes, s) }):
		code, text = "invalid_scope", "Invalid OAuth scope or ID token audience provided."
	default:
		return nil
	}
	refusal := grantError(code, text)
	return &refusal
}

func (c claims) timely(now time.Time) bool {
	issued, expires := time.Unix(c.Issued, 0), time.Unix(c.Expires, 0)
	return !issued.After(now.Add(clockSkew)) && expires.After(now) &&
		expires.Sub(issued) <= time.Hour+clockSkew
}

// readJWT reads the claims of an assertion. With errSignature the claims are
// there, but anybody may have written them.
func readJWT(assertion string, key *rsa.PublicKey) (c claims, err error) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return c, errShape
	}
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	signature, err := decodePart(parts[2])
	if err != nil || !readPart(parts[0], &header) || !readPart(parts[1], &c) {
		return c, errShape
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if header.Algorithm != "RS256" || header.KeyID != "" && header.KeyID != keyID ||
		rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) != nil {
		return c, errSignature
	}
	return c, nil
}

func readPart(part string, into any) bool {
	text, err := decodePart(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

// decodePart reads base64url, also with the padding that RFC 7515 leaves out and
// old versions of google-auth write.
func decodePart(part string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
}
