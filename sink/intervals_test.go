package sink

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func TestIntervalsAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s intervals
		oracle := make(map[int64]bool)
		for _, n := range rapid.SliceOf(rapid.Int64Range(-40, 40)).Draw(t, "numbers") {
			s.add(n)
			oracle[n] = true
		}
		for n := int64(-42); n <= 42; n++ {
			if s.has(n) != oracle[n] {
				t.Fatalf("has(%d) = %t in %v", n, s.has(n), s)
			}
		}
		for i, run := range s {
			if run.first > run.last || i > 0 && run.first <= s[i-1].last+1 {
				t.Fatalf("run %d of %v overlaps or touches the one before", i, s)
			}
		}
	})
}

// TestIntervalsStayFew adds a million numbers in the order in which rows finish:
// shuffled within a window.
func TestIntervalsStayFew(t *testing.T) {
	const rows, window = 1_000_000, 16_000
	random := rand.New(rand.NewPCG(1, 2))
	var s intervals
	for from := int64(0); from < rows; from += window {
		for _, i := range random.Perm(window) {
			s.add(from + int64(i))
		}
	}
	if len(s) != 1 || cap(s) > window {
		t.Errorf("%d runs in room for %d", len(s), cap(s))
	}
}
