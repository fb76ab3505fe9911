package iidclient

import (
	"net/url"
	"strings"
)

// path is a path twice: escaped as it goes on the wire, and plain as net/url wants
// it beside that.
type path struct{ plain, escaped string }

// pathOf joins literal text and data, in turns. Data is one segment, whatever it
// contains.
func pathOf(pieces ...string) path {
	var escaped strings.Builder
	for i, piece := range pieces {
		if i%2 == 1 {
			piece = url.PathEscape(piece)
		}
		escaped.WriteString(piece)
	}
	return path{plain: strings.Join(pieces, ""), escaped: escaped.String()}
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
