package iidclient

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	cleanLimit   = 200 // bytes kept of a text that came from outside
	longestRun   = 40  // token characters in a row that may be shown
	runRemainder = 8   // characters kept of a longer run
)

// cleanText makes a text from outside fit for an error or a log: control
// characters become spaces, anything as long as a push token or an access token
// is shortened, and at most about 200 bytes are kept.
func cleanText(s string) string {
	var b strings.Builder
	for s != "" && b.Len() < cleanLimit {
		run := tokenRun(s)
		switch {
		case run > longestRun:
			b.WriteString(s[:runRemainder])
			b.WriteString("…")
		case run > 0:
			b.WriteString(s[:run])
		default:
			run = writePlain(&b, s)
		}
		s = s[run:]
	}
	return cutAt(strings.TrimSpace(b.String()), cleanLimit)
}

// tokenRun is the number of leading characters that a token may consist of.
// Neither '.' nor '@' counts, so that host names and accounts stay readable.
func tokenRun(s string) int {
	n := 0
	for n < len(s) && tokenByte(s[n]) {
		n++
	}
	return n
}

func tokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("-_:+/=%~", c) >= 0
}

func writePlain(b *strings.Builder, s string) int {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && size == 1:
		b.WriteByte('?')
	case unicode.IsControl(r):
		b.WriteByte(' ')
	default:
		b.WriteString(s[:size])
	}
	return size
}

func cutAt(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
