package iidclient

import (
	"strconv"
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
	return strings.TrimSpace(shorten(strings.Map(withoutControl, strings.ToValidUTF8(s, "?"))))
}

// quoteText shows an argument as it stands, blanks included, shortened as by cleanText.
func quoteText(s string) string { return strconv.Quote(shorten(s)) }

func withoutControl(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

func shorten(s string) string {
	var b strings.Builder
	for s != "" && b.Len() <= cleanLimit {
		run := max(tokenRun(s), 1)
		if run > longestRun {
			b.WriteString(s[:runRemainder])
			b.WriteString("…")
		} else {
			b.WriteString(s[:run])
		}
		s = s[run:]
	}
	return cutAt(b.String(), cleanLimit)
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

func cutAt(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
