package source

import (
	"context"
	"iter"
	"strconv"

	"github.com/bulksub/bulksub/pipeline"
)

// List is a source of a few tokens that are at hand. Their keys count from 1.
type List struct {
	Tokens []string
	Tasks  Tasks
}

var _ pipeline.Source = (*List)(nil)

// Next gives the whole list as one segment.
func (l *List) Next(_ context.Context, after pipeline.Segment) (pipeline.Segment, bool, error) {
	return pipeline.Segment{Number: 1}, after.Number == 0 && len(l.Tokens) > 0, nil
}

// Rows streams the list.
func (l *List) Rows(ctx context.Context, _ pipeline.Segment) iter.Seq2[pipeline.Row, error] {
	return func(yield func(pipeline.Row, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(pipeline.Row{}, err)
			return
		}
		for i, token := range l.Tokens {
			if !yield(l.Tasks.row(strconv.Itoa(i+1), token, nil), nil) {
				return
			}
		}
	}
}
