package source

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/bulksub/bulksub/pipeline"
)

// groups is where each group of rows stands when all rows stand in the order of
// their groups.
type groups struct {
	index map[string]int // of a group in the counts
	count []int64        // of its rows
	first []int64        // its first row's place, counted from 1
}

// add counts a row. The name of its group may be the reader's, to be overwritten.
func (g *groups) add(name string) {
	i, known := g.index[name]
	if !known {
		i = len(g.count)
		g.index[strings.Clone(name)] = i
		g.count = append(g.count, 0)
	}
	g.count[i]++
}

// order gives the groups their places.
func (g *groups) order() {
	g.first = make([]int64, len(g.count))
	next := int64(1)
	for _, name := range slices.Sorted(maps.Keys(g.index)) {
		i := g.index[name]
		g.first[i] = next
		next += g.count[i]
	}
}

// grouped streams the rows of a segment in the order of their groups. The file
// stays as it is: each segment is a pass over it that picks the segment's rows, which
// costs seconds where sending them at the service's rate costs a quarter of a minute.
func (f *File) grouped(ctx context.Context, s pipeline.Segment) iter.Seq2[pipeline.Row, error] {
	return func(yield func(pipeline.Row, error) bool) {
		rows, err := f.pick(ctx, s)
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
		if err != nil {
			f.cursor = nil
			yield(pipeline.Row{}, err)
		}
	}
}

// pick collects the rows of a segment, in its order.
func (f *File) pick(ctx context.Context, s pipeline.Segment) ([]pipeline.Row, error) {
	first, last, err := parseBounds(s.Bounds)
	if err != nil {
		return nil, err
	}
	if err := f.unchanged(); err != nil {
		return nil, err
	}
	if err := f.rewind(); err != nil {
		return nil, err
	}
	next, rows := slices.Clone(f.groups.first), make([]pipeline.Row, last-first+1)
	for left := len(rows); left > 0; {
		r, err := f.advance(ctx)
		if err != nil {
			return nil, err
		}
		group := f.groups.index[r.fields[1]]
		place := next[group]
		next[group]++
		if place >= first && place <= last {
			rows[place-first] = f.row(r)
			left--
		}
	}
	return rows, f.unchanged()
}
