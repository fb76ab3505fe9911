package iidclient

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// encodeBatch writes the body of batchAdd and batchRemove in the key order of the
// Admin SDKs. The bytes are the buffer's.
func encodeBatch(to *bytes.Buffer, topic string, tokens []string) []byte {
	size := len(`{"to":"/topics/","registration_tokens":[]}`) + len(topic)
	for _, token := range tokens {
		size += len(token) + len(`"",`)
	}
	if to.Cap() < size { // Grow doubles it, and would soon make more of it than is kept
		*to = *bytes.NewBuffer(make([]byte, 0, size+size/8))
	}
	b := append(to.AvailableBuffer(), `{"to":"`+topicPrefix...)
	b = append(b, topic...)
	b = append(b, `","registration_tokens":`...)
	b = appendStrings(b, tokens)
	to.Write(append(b, '}'))
	return to.Bytes()
}

// encodeImport writes the body of batchImport in the key order of the reference.
func encodeImport(app string, sandbox bool, apnsTokens []string) []byte {
	b := []byte(`{"application":`)
	b = appendString(b, app)
	b = append(b, `,"sandbox":`...)
	b = strconv.AppendBool(b, sandbox)
	b = append(b, `,"apns_tokens":`...)
	b = appendStrings(b, apnsTokens)
	return append(b, '}')
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendString writes s, which is valid UTF-8, as a JSON string (RFC 8259,
// section 7). Unlike encoding/json it leaves '<', '>' and '&' alone.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	if quotable(s) {
		return append(append(b, s...), '"')
	}
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		if c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, '\\', c)
		}
		start = i + 1
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// quotable reports whether no byte of s is a control character, a quote or a backslash. It looks at eight
// bytes at a time. A byte that is too small borrows from its high bit, and then perhaps from the bytes above: only
// whether there is any borrowing counts.
func quotable(s string) bool {
	const each, marks = 0x0101010101010101, 0x8080808080808080
	var odd uint64
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		quote, slash := w^'"'*each, w^'\\'*each
		odd |= (w-' '*each)&^w | (quote-each)&^quote | (slash-each)&^slash
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return odd&marks == 0
}

// sendable tells whether a token reaches the service as it is. JSON has no form
// for bytes that are not UTF-8: an encoder would send another token.
func sendable(token string) bool {
	return token != "" && utf8.ValidString(token)
}
