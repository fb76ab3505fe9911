package sink

import (
	"context"
	"sync"

	"github.com/bulksub/bulksub/pipeline"
)

// Memory is a sink for a run that nobody will continue: it keeps every result in
// memory, so the input must be small. Results and Counts may be called at any
// time.
type Memory struct {
	Lease *pipeline.Lease // that is needed for what is kept here; nil: none

	mu      sync.Mutex
	last    pipeline.Segment
	results []pipeline.Result
}

var _ pipeline.Sink = (*Memory)(nil)

// Claim takes the next segment as it is cut.
func (m *Memory) Claim(ctx context.Context, plan pipeline.Plan) (*pipeline.Claim, error) {
	next, more, err := plan(ctx, m.last)
	if err != nil {
		return nil, err
	}
	if !more {
		return nil, pipeline.ErrNothingLeft
	}
	m.last = next
	return &pipeline.Claim{Segment: next, Lease: m.Lease}, nil
}

// Record keeps the results.
func (m *Memory) Record(_ context.Context, results []pipeline.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.results = append(m.results, results...)
	return nil
}

// Finish does nothing: there is no next run.
func (m *Memory) Finish(context.Context, *pipeline.Claim) error { return nil }

// Results returns what was recorded, in the order in which it came.
func (m *Memory) Results() []pipeline.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.results
}

// Counts counts the results.
func (m *Memory) Counts(context.Context) (pipeline.Counts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := make(pipeline.Counts)
	for i := range m.results {
		counts[m.results[i].Status]++
	}
	return counts, nil
}
