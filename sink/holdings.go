package sink

import (
	"maps"
	"slices"
	"sync"

	"github.com/bulksub/bulksub/pipeline"
)

// holdings are the segments in this process's hands. They are safe for concurrent use.
type holdings struct {
	onLoss func(segment int)
	// restElsewhere: others held all that was left when we last asked for a segment. It is Claim's alone.
	restElsewhere bool

	mu      sync.Mutex
	claims  map[int]*pipeline.Claim   // by the segment's number
	results map[*pipeline.Claim]int64 // that the ledger holds of each, as far as we know
}

func newHoldings() *holdings {
	return &holdings{onLoss: func(int) {}, claims: make(map[int]*pipeline.Claim), results: make(map[*pipeline.Claim]int64)}
}

func (h *holdings) add(claim *pipeline.Claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claims[claim.Segment.Number] = claim
}

// all is a copy.
func (h *holdings) all() map[int]*pipeline.Claim {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.claims)
}

// numbers lists the segments. One that is ours in the ledger and not in the list is left
// from a claim whose answer was lost.
func (h *holdings) numbers() []int {
	return slices.AppendSeq([]int{}, maps.Keys(h.all())) // nil would be NULL, and nothing differs from that
}

// release takes a segment out of our hands. It reports whether it was there.
func (h *holdings) release(claim *pipeline.Claim) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.claims[claim.Segment.Number] != claim {
		return false
	}
	delete(h.claims, claim.Segment.Number)
	delete(h.results, claim)
	return true
}

// count notes that the ledger holds more results of a segment in our hands.
func (h *holdings) count(claim *pipeline.Claim, more int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.claims[claim.Segment.Number] == claim {
		h.results[claim] += int64(more)
	}
}

// counted is how many results it holds of the segment.
func (h *holdings) counted(claim *pipeline.Claim) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.results[claim]
}

// lose notes that a segment is somebody else's now, unless it has been finished
// meanwhile.
func (h *holdings) lose(claim *pipeline.Claim) {
	if h.release(claim) {
		claim.Lease.Lose()
		h.onLoss(claim.Segment.Number)
	}
}
