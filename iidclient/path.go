package iidclient

import (
	"net/url"
	"strings"
)

// joinPath joins literal text and data, in turns, twice: plain as net/url wants it, and
// escaped as it goes on the wire beside that.
func joinPath(pieces []string) (plain, escaped string) {
	var wire strings.Builder
	for i, piece := range pieces {
		if i%2 == 1 {
			piece = url.PathEscape(piece)
		}
		wire.WriteString(piece)
	}
	return strings.Join(pieces, ""), wire.String()
}

// CheckToken returns an [*ArgumentError] for a token that cannot stand in a path, as it
// does in the calls about one token: an empty one, one that is not UTF-8, "." and "..".
func CheckToken(token string) error {
	if !sendable(token) || isDots(token) {
		return &ArgumentError{Name: "token", Problem: "empty, not UTF-8, or only dots; leave it out"}
	}
	return nil
}

// isDots finds the path segments that a server or proxy removes (RFC 3986, 5.2.4),
// which would make it another call. Escaping does not save them.
func isDots(segment string) bool { return segment == "." || segment == ".." }
