package iidclient

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		" 7 ":                            7 * time.Second,
		"-7":                             0,
		"+7":                             0,
		"1.5":                            0,
		"soon":                           0,
		"315360000":                      315360000 * time.Second,
		"99999999999999999999":           math.MaxInt64,
		"9223372037":                     math.MaxInt64,
		"Sun, 22 Nov 2026 12:00:30 GMT":  30 * time.Second,
		"Sun, 22 Nov 2026 11:59:59 GMT":  0,
		"Sunday, 22-Nov-26 12:01:00 GMT": time.Minute,
		"Sun Nov 22 12:02:00 2026":       2 * time.Minute,
	} {
		if got := parseRetryAfter(value, now); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, seed := range []string{"1", "-1", "Sun, 22 Nov 2026 12:00:30 GMT", "99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if got := parseRetryAfter(value, now); got < 0 {
			t.Fatalf("%q: %s", value, got)
		}
	})
}

func TestCheckTopic(t *testing.T) {
	long := strings.Repeat("a", maxTopic)
	for in, want := range map[string]string{
		"news":               "news",
		"/topics/news":       "news",
		"private/x":          "private/x",
		"/topics/private/aZ": "private/aZ",
		"a-b_c.d~e%f":        "a-b_c.d~e%f",
		long:                 long,
	} {
		if got, err := CheckTopic(in); got != want || err != nil {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "/topics/", "private/", "a b", "a/b", "/topics//topics/x", "é", "a\n", "a\xff", long + "a", "private/private/x"} {
		var refused *ArgumentError
		if got, err := CheckTopic(in); !errors.As(err, &refused) || got != "" {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"/topics/a b":            `topic: "/topics/a b" has ' ' at position 10; `,
		" ":                      `topic: " " has ' ' at position 1; `,
		"news\n":                 `topic: "news\n" has '\n' at position 5; `,
		"a\xff":                  `topic: "a\xff" has '�' at position 2; `,
		"private/":               `topic: "private/" has no name`,
		testTokens(1)[0] + " ":   `topic: "dGVzdC1p… " has `,
		strings.Repeat(" ", 999): `topic: "` + strings.Repeat(" ", cleanLimit) + `" has 999 characters`,
	} {
		if _, err := CheckTopic(in); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestCleanTextHidesTokens(t *testing.T) {
	token := testTokens(1)[0]
	got := cleanText("bad token " + token + "\r\nfor news@example.com")
	if want := "bad token dGVzdC1p…  for news@example.com"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzCleanText(f *testing.F) {
	f.Add("INVALID_ARGUMENT: " + testTokens(1)[0])
	f.Add(strings.Repeat("é", 300) + "\x00\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := cleanText(s)
		if len(got) > cleanLimit || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Fatalf("%q: %q", s, got)
		}
		for at := range got {
			if tokenRun(got[at:]) > longestRun {
				t.Fatalf("%q shows a token: %q", s, got)
			}
		}
		got, err := strconv.Unquote(quoteText(s))
		if err != nil || len(got) > cleanLimit || got != s && !strings.Contains(got, "…") && len(got) < cleanLimit-utf8.UTFMax {
			t.Fatalf("%q is quoted as %q, %v", s, got, err)
		}
	})
}
