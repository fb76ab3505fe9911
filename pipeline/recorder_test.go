package pipeline

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPiecesPartNoBatch: the pieces of a record are all of it, in its order, each of whole batches and of not many more rows than
// are to go at a time.
func TestPiecesPartNoBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rec record
		for _, n := range rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 300, 1000}), 50, 100).Draw(t, "batches") {
			for range n {
				rec.items = append(rec.items, new(item))
			}
			rec.ends = append(rec.ends, len(rec.items))
		}
		ends, at := slices.Clone(rec.ends), 0
		for piece := range rec.pieces() {
			at += len(piece)
			if len(piece) == 0 || len(piece) >= mostRecorded+1000 || !slices.Contains(ends, at) {
				t.Fatalf("a piece of %d ends at %d", len(piece), at)
			}
			if at < len(rec.items) && len(piece) < mostRecorded {
				t.Fatalf("a piece of %d before the last", len(piece))
			}
			if !slices.Equal(piece, rec.items[at-len(piece):at]) {
				t.Fatalf("other rows before %d", at)
			}
		}
		if at != len(rec.items) {
			t.Fatalf("%d of %d rows", at, len(rec.items))
		}
	})
}
