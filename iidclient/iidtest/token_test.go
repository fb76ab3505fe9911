package iidtest

import (
	"bytes"
	"regexp"
	"testing"
)

func TestTokensLookReal(t *testing.T) {
	shape := regexp.MustCompile(`^[cdef][A-Za-z0-9_-]{21}:APA91b[A-Za-z0-9_-]{134}$`)
	seen := map[string]bool{}
	for n := range 200_000 {
		token := Token(1, n)
		if seen[token] {
			t.Fatalf("token %d came before", n)
		}
		seen[token] = true
		if n < 1000 && !shape.MatchString(token) {
			t.Fatalf("token %d: %s", n, token)
		}
	}
	if seen[Token(2, 0)] {
		t.Error("another seed makes the same token")
	}
}

// The values are written out because results of one run are compared with
// the oracle of another.
func TestTokensAndFatesAreStable(t *testing.T) {
	const want = "e-nxAEYulTCwxeMDFW6OjZ:APA91b4K-k1QNienFNShaUoZjTpoInghi1g-C9eY7skQBGfnfrHbNGbtMOfE2yog9-bjk-Uw9rad1VuXCLZqB-XfLp8vLP2ghh5tSfpgZtOggSE7jhQAYHumEMsPezv8A6NjG4XH4GoL"
	if got := Token(1, 0); got != want {
		t.Errorf("token: %s", got)
	}
	for text, want := range map[string]uint64{
		"": 0xc375337ae97ba609, "a": 0x85496341b596a886, "12345678": 0xe4336cca553364b3,
		"123456789": 0x7330ddb1e2af693c, want: 0xb73c4f36cb980ffa,
	} {
		if got := hash(42, text); got != want {
			t.Errorf("hash of %q: %#x, want %#x", text, got, want)
		}
	}
}

func TestVisibleIsWhatItSays(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := bytes.Repeat([]byte("x"), length)
				text[at] = byte(c)
				if got, want := visible(text), c > ' ' && c <= '~'; got != want {
					t.Fatalf("visible(%q) = %v", text, got)
				}
			}
		}
	}
}

// Tokens whose hashes collide must stay apart; nobody has two such tokens, so
// the index is made to claim it.
func TestCollidingTokensStayApart(t *testing.T) {
	d := devices{index: map[uint64]uint32{}}
	a := d.findOrAdd([]byte("a"))
	d.index[hash(0, "b")] = 0
	b := d.findOrAdd([]byte("b"))
	if a == b || d.find("b") != b || d.find("a") != a || b.token != "b" {
		t.Errorf("a %p %q, b %p %q", a, a.token, b, b.token)
	}
}
