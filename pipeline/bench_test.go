package pipeline

import (
	"context"
	"iter"
	"strconv"
	"testing"
)

func BenchmarkBatcherAdd(b *testing.B) {
	for _, topics := range []int{1, 5000} {
		b.Run(strconv.Itoa(topics)+" topics", func(b *testing.B) {
			items := make([]*item, 100_000)
			for i := range items {
				row := Row{Token: strconv.Itoa(i), Actions: []Action{{Op: Subscribe, Topic: strconv.Itoa(i % topics)}}}
				items[i] = &item{Row: row}
			}
			batcher := batcher{open: map[Action]*batch{}, limit: func(Action) int { return largestBatch }}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				batcher.add(items[i%len(items)])
				if batcher.next() != nil {
					batcher.pop()
				}
			}
		})
	}
}

// endless is a source of so many rows, a sink that forgets, and a service that
// says yes.
type endless struct {
	tokens []string
	rows   int
	ok     []Outcome
}

func (e *endless) Next(_ context.Context, after Segment) (Segment, bool, error) {
	return Segment{Number: after.Number + 1}, after.Number == 0, nil
}

func (e *endless) Rows(context.Context, Segment) iter.Seq2[Row, error] {
	actions := []Action{{Op: Subscribe, Topic: "news"}}
	return func(yield func(Row, error) bool) {
		for i := range e.rows {
			token := e.tokens[i%len(e.tokens)]
			if !yield(Row{Key: token, Token: token, Actions: actions}, nil) {
				return
			}
		}
	}
}

func (e *endless) Limit(Action) int { return largestBatch }

func (e *endless) Call(_ context.Context, _ Action, tokens []string) ([]Outcome, error) {
	return e.ok[:len(tokens)], nil
}

type forgetful struct{ last Segment }

func (f *forgetful) Claim(ctx context.Context, plan Plan) (*Claim, error) {
	next, more, err := plan(ctx, f.last)
	if err != nil || !more {
		return nil, ErrNothingLeft
	}
	f.last = next
	return &Claim{Segment: next}, nil
}

func (*forgetful) Record(context.Context, []Result) error { return nil }
func (*forgetful) Finish(context.Context, *Claim) error   { return nil }
func (*forgetful) Counts(context.Context) (Counts, error) { return nil, nil }

// BenchmarkRun carries a row in each iteration.
func BenchmarkRun(b *testing.B) {
	e := &endless{rows: b.N, ok: make([]Outcome, largestBatch)}
	for i := range e.ok {
		e.ok[i].Status = OK
	}
	for i := range 100_000 {
		e.tokens = append(e.tokens, "token-"+strconv.Itoa(i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := Run(b.Context(), Job{Source: e, Sink: new(forgetful), Service: e}, Options{}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
