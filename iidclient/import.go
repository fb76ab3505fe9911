package iidclient

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// MaxImport is the most APNs tokens of one batchImport call ("Maximum 100 tokens
// per request", server reference).
const MaxImport = 100

// Imported is what became of one APNs token.
type Imported struct {
	// RegistrationToken is what FCM maps to the APNs token; empty unless Code is
	// CodeOK.
	RegistrationToken string
	// Code is CodeOK, or the service's status word for word. A status of OK
	// without a registration token is CodeNoRegistrationToken.
	Code Code
}

// BatchImport makes registration tokens for the APNs tokens of an iOS app, of its
// sandbox or of its production environment: POST /iid/v1:batchImport. The
// result has the order of the request; the reply has none, and is matched by the
// token that it echoes, whatever its case. Tokens that differ in case only are
// one: they are sent once and answered alike. Importing a token again is safe.
//
// No APNs token, more than [MaxImport], or one that [CheckAPNsToken] refuses, and an
// app that [CheckBundleID] refuses, is an [*ArgumentError] before any call. A
// reply that leaves a token out, answers one twice or has one that was not asked for
// is a [*ReplyError]. The other errors are those of [Client.BatchAdd]. With
// an error there is no result.
func (c *Client) BatchImport(ctx context.Context, app string, sandbox bool, apnsTokens []string) ([]Imported, error) {
	if err := CheckBundleID(app); err != nil {
		return nil, err
	}
	if err := checkImport(apnsTokens); err != nil {
		return nil, err
	}
	asked := newImportIndex(apnsTokens)
	r := Request{
		Name:   "batchImport",
		Method: http.MethodPost,
		Path:   []string{"/iid/v1:batchImport"},
		Body:   encodeImport(app, sandbox, asked.tokens),
	}
	var answers []Imported
	err := c.Do(ctx, r, func(body []byte) (err error) {
		answers, err = decodeImport(body, asked)
		return err
	})
	if err != nil {
		return nil, err
	}
	return asked.spread(answers, apnsTokens), nil
}

// CheckAPNsToken returns an [*ArgumentError] for what is no APNs token: an even
// number of hex digits, up to 4096. Apple declares the length variable, and the
// example of the server reference has 54.
func CheckAPNsToken(token string) error {
	switch {
	case token == "", len(token)%2 == 1, len(token) > maxToken:
		return apnsError("%d characters; an even number of hex digits up to %d is allowed", len(token), maxToken)
	case strings.Trim(token, "0123456789abcdefABCDEF") != "":
		return apnsError("a character that is no hex digit")
	}
	return nil
}

func apnsError(format string, args ...any) error {
	return &ArgumentError{Name: "APNs token", Problem: fmt.Sprintf(format, args...)}
}

// CheckBundleID returns an [*ArgumentError] for what is no bundle ID of an app:
// letters, digits, hyphens and periods (Apple, "CFBundleIdentifier").
func CheckBundleID(app string) error {
	if app == "" || strings.ContainsFunc(app, notInBundleID) {
		return &ArgumentError{Name: "app", Problem: fmt.Sprintf("%s is no bundle ID; allowed are a-z A-Z 0-9 - .", quoteText(app))}
	}
	return nil
}

func notInBundleID(r rune) bool { return !isAlphanumeric(r) && r != '-' && r != '.' }

func checkImport(apnsTokens []string) error {
	if len(apnsTokens) == 0 || len(apnsTokens) > MaxImport {
		return &ArgumentError{Name: "APNs tokens", Problem: fmt.Sprintf("%d in one import, 1 to %d are allowed", len(apnsTokens), MaxImport)}
	}
	for i, token := range apnsTokens {
		if err := CheckAPNsToken(token); err != nil {
			return fmt.Errorf("at index %d: %w", i, err)
		}
	}
	return nil
}

// importIndex is the place of every distinct APNs token of a request.
type importIndex struct {
	tokens []string       // as they are sent
	places map[string]int // by foldAPNs
}

func newImportIndex(apnsTokens []string) importIndex {
	x := importIndex{places: make(map[string]int, len(apnsTokens))}
	for _, token := range apnsTokens {
		folded := foldAPNs(token)
		if _, known := x.places[folded]; !known {
			x.places[folded] = len(x.tokens)
			x.tokens = append(x.tokens, token)
		}
	}
	return x
}

// spread gives every token of the request the answer of its place.
func (x importIndex) spread(answers []Imported, apnsTokens []string) []Imported {
	all := make([]Imported, len(apnsTokens))
	for i, token := range apnsTokens {
		all[i] = answers[x.places[foldAPNs(token)]]
	}
	return all
}

// foldAPNs makes one of the spellings of an APNs token.
func foldAPNs(token string) string { return strings.ToLower(token) }
