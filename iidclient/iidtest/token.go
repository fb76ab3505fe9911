package iidtest

import (
	"bytes"
	"encoding/binary"
	"unicode"
)

const (
	base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// The first four bits of a Firebase installation ID are 0111, so that its
	// first character is one of these.
	fidStart    = "cdef"
	fidLength   = 22
	tokenPrefix = ":APA91b"
	tokenLength = 163
)

// Token makes the nth registration token of a seed: 163 characters in the
// shape of a real device token (22 of installation ID, a colon, "APA91b" and
// 134 more). The same arguments always make the same token.
func Token(seed uint64, n int) string {
	var token [tokenLength]byte
	stream := mix64(seed ^ mix64(uint64(n)))
	for at := 0; at < tokenLength; at += 10 {
		bits := mix64(stream + uint64(at))
		for i := at; i < min(at+10, tokenLength); i++ {
			token[i] = base64URL[bits&63]
			bits >>= 6
		}
	}
	token[0] = fidStart[stream&3]
	copy(token[fidLength:], tokenPrefix)
	return string(token[:])
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
