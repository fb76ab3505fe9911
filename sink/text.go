package sink

import (
	"strings"
	"unicode/utf8"
)

// storable is a text as every sink keeps it: what Postgres cannot hold (NUL,
// invalid UTF-8; few but malformed tokens have it) becomes U+FFFD.
func storable(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\ufffd"), "\ufffd")
}
