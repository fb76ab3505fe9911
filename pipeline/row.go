package pipeline

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxTokenBytes is the longest token that is sent. Google calls its tokens
// opaque and has never published a length; 4 KiB is the largest ever hinted at.
const MaxTokenBytes = 4096

// Op names what is done to a token.
type Op string

// The operations. An import and a web import or refresh give a registration token,
// which takes the row's further actions.
const (
	Subscribe   Op = "subscribe"
	Unsubscribe Op = "unsubscribe"
	Import      Op = "import"
	Info        Op = "info"
	WebImport   Op = "web import"
	WebRefresh  Op = "web refresh"
	WebDelete   Op = "web delete"
)

// Action is one thing to do with a token. Two rows whose first actions are equal
// can share a call.
type Action struct {
	Op    Op
	Topic string
	// Application and Sandbox say which app an APNs token to [Import] is of.
	Application string
	Sandbox     bool
}

// String is the action in words.
func (a Action) String() string {
	words := string(a.Op)
	for _, of := range []string{a.Application, a.Topic} {
		if of != "" {
			words += " " + of
		}
	}
	if a.Sandbox {
		words += " sandbox"
	}
	return words
}

// Row is one row of the input.
type Row struct {
	// Key is the row's identity in its source: the key column's value, or the
	// number of the line. No two rows of a source share one. It, the token and the subject may be parts
	// of a string that neighbours share, of some kilobytes at most.
	Key   string
	Token string
	// Subject is what the first action is for, if that is not the token: a push
	// subscription, as JSON.
	Subject string
	// Actions are done one after the other; each needs the one before to be ok.
	// The slice may be shared between rows and is never written to.
	Actions []Action
	// Flaw says why the source found no usable token here ("the token is null").
	// Such a row is recorded as [Malformed] and never sent.
	Flaw string
}

// TokenFlaw says what keeps a token from being sent, or "" if nothing does.
func TokenFlaw(token string) string {
	switch {
	case token != "" && len(token) <= MaxTokenBytes && plain(token):
		return ""
	case strings.TrimSpace(token) == "":
		return "empty"
	case len(token) > MaxTokenBytes:
		return "longer than 4096 bytes"
	case !utf8.ValidString(token):
		return "not valid UTF-8"
	case strings.ContainsFunc(token, unicode.IsControl):
		return "holds a control character"
	case strings.ContainsFunc(token, unicode.IsSpace):
		return "holds white space"
	}
	return ""
}

// plain reports whether a token is visible ASCII, as nearly all are. It looks at eight bytes at a time.
// A byte that is too small borrows from its high bit, and then perhaps from the bytes above: only whether there is any
// borrowing counts.
func plain(token string) bool {
	const each, marks = 0x0101010101010101, 0x8080808080808080
	var odd uint64
	for ; len(token) >= 8; token = token[8:] {
		w := uint64(token[0]) | uint64(token[1])<<8 | uint64(token[2])<<16 | uint64(token[3])<<24 |
			uint64(token[4])<<32 | uint64(token[5])<<40 | uint64(token[6])<<48 | uint64(token[7])<<56
		del := w ^ 0x7f*each
		odd |= w | (w-'!'*each)&^w | (del-each)&^del
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return odd&marks == 0
}
