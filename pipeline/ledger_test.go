package pipeline_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

// rows is a source that cuts its rows into segments of a size.
type rows struct {
	rows []pipeline.Row
	size int
	// broken is the row in whose place an error comes; 0: none.
	broken int
}

func (s *rows) Next(_ context.Context, after pipeline.Segment) (pipeline.Segment, bool, error) {
	return pipeline.Segment{Number: after.Number + 1}, after.Number*s.size < len(s.rows), nil
}

func (s *rows) Rows(ctx context.Context, segment pipeline.Segment) iter.Seq2[pipeline.Row, error] {
	return func(yield func(pipeline.Row, error) bool) {
		from := (segment.Number - 1) * s.size
		for i := from; i < min(from+s.size, len(s.rows)); i++ {
			err := ctx.Err()
			if s.broken > 0 && i == s.broken {
				err = errBrokenSource
			}
			if !yield(s.rows[i], err) || err != nil {
				return
			}
		}
	}
}

var errBrokenSource = fmt.Errorf("row %s cannot be read", "x")

var news = pipeline.Action{Op: pipeline.Subscribe, Topic: "news"}

// numbered makes rows with the keys and tokens 1 to n.
func numbered(n int, actions ...pipeline.Action) *rows {
	if len(actions) == 0 {
		actions = []pipeline.Action{news}
	}
	s := &rows{size: 50_000}
	for i := range n {
		s.rows = append(s.rows, pipeline.Row{Key: strconv.Itoa(i + 1), Token: "token-" + strconv.Itoa(i+1), Actions: actions})
	}
	return s
}

// ledger is the memory that runs share: which segments are finished, which rows
// have a result, and who holds what.
type ledger struct {
	latency time.Duration
	failing error // what Record returns

	mu       sync.Mutex
	last     pipeline.Segment
	done     map[int]bool
	results  map[string][]pipeline.Result
	batches  []int        // results in each Record
	theirs   map[int]bool // held by another process
	inHand   int
	mostHand int
}

func newLedger() *ledger {
	return &ledger{done: map[int]bool{}, results: map[string][]pipeline.Result{}, theirs: map[int]bool{}}
}

// process is a run's view of the ledger.
type process struct {
	*ledger
	mine map[int]bool
	// lease, if set, makes the lease of each segment.
	lease func(segment int) *pipeline.Lease
}

func (l *ledger) process() *process {
	l.inHand = 0
	return &process{ledger: l, mine: map[int]bool{}}
}

func (p *process) Claim(ctx context.Context, plan pipeline.Plan) (*pipeline.Claim, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	elsewhere := false
	for n := 1; n <= p.last.Number; n++ {
		switch {
		case p.done[n] || p.mine[n]:
		case p.theirs[n]:
			elsewhere = true
		default:
			return p.take(pipeline.Segment{Number: n}), nil
		}
	}
	next, more, err := plan(ctx, p.last)
	switch {
	case err != nil:
		return nil, err
	case more:
		p.last = next
		return p.take(next), nil
	case elsewhere:
		return nil, pipeline.ErrHeldElsewhere
	}
	return nil, pipeline.ErrNothingLeft
}

func (p *process) take(s pipeline.Segment) *pipeline.Claim {
	p.mine[s.Number] = true
	c := &pipeline.Claim{Segment: s, Recorded: p.recorded}
	if p.lease != nil {
		c.Lease = p.lease(s.Number)
	}
	return c
}

func (p *process) recorded(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.results[key]) > 0 {
		return true
	}
	p.inHand++
	p.mostHand = max(p.mostHand, p.inHand)
	return false
}

func (p *process) Record(ctx context.Context, results []pipeline.Result) error {
	if err := pause(ctx, p.latency); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failing != nil {
		return p.failing
	}
	p.batches = append(p.batches, len(results))
	p.inHand -= len(results)
	for _, res := range results {
		if !res.Claim.Lease.Lost() {
			p.results[res.Key] = append(p.results[res.Key], res)
		}
	}
	return ctx.Err()
}

func (p *process) Finish(_ context.Context, c *pipeline.Claim) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[c.Segment.Number] = true
	return nil
}

func (p *process) Counts(context.Context) (pipeline.Counts, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts(), nil
}

// reopen forgets the rows that failed with the code. It reports whether there
// were any.
func (l *ledger) reopen(code string) bool {
	before := len(l.results)
	maps.DeleteFunc(l.results, func(_ string, results []pipeline.Result) bool {
		return results[0].Status == pipeline.Failed && results[0].Code == code
	})
	clear(l.done)
	return len(l.results) < before
}

// counts counts the results.
func (l *ledger) counts() pipeline.Counts {
	counts := pipeline.Counts{}
	for _, results := range l.results {
		for _, res := range results {
			counts[res.Status]++
		}
	}
	return counts
}
