package iidtest

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// Plan says when a fault strikes. Calls are counted per plan, over those whose
// path it concerns; the fault strikes where any of First, Every and Share says
// so, and on every call if all are zero. Of several plans that strike the same
// call, the first wins.
type Plan struct {
	Fault Fault
	// Path is the beginning of the paths concerned. Default: "/iid/", "/v1/web/" and
	// "/v1/projects/", which leaves out the token endpoint.
	Path string
	// First strikes the first calls.
	First int
	// Every strikes each call whose number it divides.
	Every int
	// Share strikes that share of calls (0.02 is 2 %), drawn by Seed for each
	// call number: the same numbers in every run.
	Share float64
	Seed  uint64
}

func (p Plan) concerns(path string) bool {
	if p.Path == "" {
		return strings.HasPrefix(path, "/iid/") || strings.HasPrefix(path, "/v1/web/") || strings.HasPrefix(path, "/v1/projects/")
	}
	return strings.HasPrefix(path, p.Path)
}

// strikes reports whether the nth call is hit, the first being 1.
func (p Plan) strikes(n int) bool {
	if p.First == 0 && p.Every == 0 && p.Share == 0 {
		return true
	}
	return n <= p.First ||
		p.Every > 0 && n%p.Every == 0 ||
		draw(p.Seed, uint64(n)) < p.Share
}

// SetFaults replaces all plans, counting calls anew; none means no faults.
// Calls under way keep theirs.
func (s *Server) SetFaults(plans ...Plan) { s.faults.set(plans) }

// FaultCounts is how often each fault has struck, by name, since the start or
// Reset, whichever plan it came from: with it a test proves that it got there.
func (s *Server) FaultCounts() map[string]int { return s.faults.counts() }

type faultPlans struct {
	mu     sync.Mutex
	plans  []Plan
	calls  []int
	struck map[string]int
}

func (f *faultPlans) set(plans []Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plans = slices.Clone(plans)
	f.calls = make([]int, len(plans))
}

func (f *faultPlans) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.calls)
	clear(f.struck)
}

// strike counts a call and returns the fault for it.
func (f *faultPlans) strike(path string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := noFault
	for i, plan := range f.plans {
		if !plan.concerns(path) {
			continue
		}
		f.calls[i]++
		if fault.Name == "" && plan.strikes(f.calls[i]) {
			fault = plan.Fault
		}
	}
	f.count(fault.Name)
	return fault
}

func (f *faultPlans) count(name string) {
	if name == "" {
		return
	}
	if f.struck == nil {
		f.struck = map[string]int{}
	}
	f.struck[name]++
}

func (f *faultPlans) counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := maps.Clone(f.struck)
	if counts == nil {
		counts = map[string]int{}
	}
	return counts
}
