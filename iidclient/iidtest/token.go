package iidtest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode"
)

const (
	base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// The first four bits of a Firebase installation ID are 0111, so that its
	// first character is one of these.
	fidStart    = "cdef"
	fidLength   = 22
	tokenPrefix = ":APA91b"
	tokenTail   = 141 // the prefix and what follows it
	tokenLength = fidLength + tokenTail
	// Tokens that batchImport made had the older, shorter instance ID (a reply
	// quoted in UPCnet/maxbunny).
	importedID     = 11
	importedLength = importedID + tokenTail
)

// Token makes the nth registration token of a seed: 163 characters in the
// shape of a real device token (22 of installation ID, a colon, "APA91b" and
// 134 more). The same arguments always make the same token.
func Token(seed uint64, n int) string {
	return deviceToken(mix64(seed ^ mix64(uint64(n))))
}

func deviceToken(stream uint64) string {
	var token [tokenLength]byte
	scribble(token[:], stream)
	token[0] = fidStart[stream&3]
	copy(token[fidLength:], tokenPrefix)
	return string(token[:])
}

func scribble(token []byte, stream uint64) {
	for at := 0; at < len(token); at += 10 {
		bits := mix64(stream + uint64(at))
		for i := at; i < min(at+10, len(token)); i++ {
			token[i] = base64URL[bits&63]
			bits >>= 6
		}
	}
}

// APNsToken makes the nth APNs device token of a seed: 64 hex digits in lower
// case. The same arguments always make the same token.
func APNsToken(seed uint64, n int) string {
	var token [32]byte
	stream := mix64(^seed ^ mix64(uint64(n)))
	for at := 0; at < len(token); at += 8 {
		binary.BigEndian.PutUint64(token[at:], mix64(stream+uint64(at)))
	}
	return hex.EncodeToString(token[:])
}

// Minted is the registration token that batchImport makes of an APNs token,
// whatever the case of its digits: 152 characters, of which 11 are instance ID.
// Being a pure function, it is also the oracle of an import.
func Minted(application string, sandbox bool, apnsToken string) string {
	environment := uint64(0)
	if sandbox {
		environment = 1
	}
	var token [importedLength]byte
	scribble(token[:], hash(hash(environment, application), strings.ToLower(apnsToken)))
	copy(token[importedID:], tokenPrefix)
	return string(token[:])
}

// WebToken is the registration token that the import of a push subscription with
// that endpoint gives; the same every time, as nobody knows better.
func WebToken(endpoint string) string { return deviceToken(hash(2, endpoint)) }

// Renewed is the token that a refresh gives instead of token, where Web.Renew
// wants a new one.
func Renewed(token string) string { return deviceToken(hash(3, token)) }

// wellFormedAPNs reports whether token is one at all: an even number of hex
// digits. Apple declares their length variable, and the reference's own example
// has 54.
func wellFormedAPNs(token []byte) bool {
	if len(token) == 0 || len(token)%2 == 1 || len(token) > MaxTokenBytes {
		return false
	}
	return !bytes.ContainsFunc(token, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) })
}

// wellFormed reports whether the service would look token up at all.
func wellFormed(token []byte) bool {
	if len(token) == 0 || len(token) > MaxTokenBytes {
		return false
	}
	return visible(token) || !bytes.ContainsFunc(token, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	})
}

const (
	everyByte = 0x0101010101010101
	highBits  = 0x8080808080808080
)

// visible reports whether b is ASCII from '!' to '~'. It looks at eight bytes
// a step, with the classic "has a byte less than n" trick.
func visible(b []byte) bool {
	var odd uint64
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ everyByte*0x7f
		odd |= x | (x-everyByte*'!')&^x | (del-everyByte)&^del
	}
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return odd&highBits == 0
}
