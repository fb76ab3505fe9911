package main

import (
	"strings"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestKindOf(t *testing.T) {
	for token, want := range map[string]kind{
		iidtest.Token(1, 0):              fcmTokens,
		iidtest.APNsToken(1, 0):          apnsTokens,
		"fcm:APA91b-_":                   fcmTokens,
		"cNPFWa0qTdqzBo6DkPfYsK":         fcmTokens,
		"APA91bHun4MxP5egoKMwt2KZFBaFUH": fcmTokens,
		iidtest.Minted("com.example.app", false, iidtest.APNsToken(1, 0)): fcmTokens,
		strings.Repeat("aB", 27):               apnsTokens,
		strings.Repeat("ab", 26):               "",
		strings.Repeat("a", 63):                "",
		"1.2E+10":                              "",
		"6ef1e3a1c2d3":                         "",
		"<ce8be627 2e43e855 16033e24>":         "",
		"":                                     "",
		"zBo6DkPfYsKqTdq+Wa0/NPFWa0qTdqzBo6D=": "",
		"\xff:\x00":                            "",
	} {
		if got := kindOf(token); got != want {
			t.Errorf("%q looks like %q, want %q", token, got, want)
		}
	}
}
