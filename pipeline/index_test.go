package pipeline

import (
	"slices"
	"strconv"
	"testing"
)

// TestIndex places tokens, each several times over, in an index that grows, and in the same once it was cleared.
func TestIndex(t *testing.T) {
	var x index
	for range 3 {
		var tokens []string
		for i := range 1500 {
			for _, n := range []int{i, i / 2, i / 7} {
				token := strconv.Itoa(n)
				want := slices.Index(tokens, token)
				if want < 0 {
					want = len(tokens)
				}
				if at := x.place(tokens, token); at != want {
					t.Fatalf("%s of %d has place %d, want %d", token, len(tokens), at, want)
				} else if at == len(tokens) {
					tokens = append(tokens, token)
				}
			}
		}
		x.clear()
	}
}
