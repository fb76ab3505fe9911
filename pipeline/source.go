package pipeline

import (
	"context"
	"iter"
)

// Segment is a part of the input that one process works on at a time: some
// 50,000 rows. The number orders segments from 1; Bounds is the source's own
// description of where the segment lies, and nobody else's to read.
type Segment struct {
	Number int
	Bounds string
}

// Source says what there is to do.
//
// Both methods are called by one goroutine at a time, and one sequence of rows is read at a
// time. They may block on their input and end early, with an error, when ctx does.
type Source interface {
	// Next cuts the segment behind after; the zero Segment stands before the
	// first. It returns false when no row lies behind. The same input cut at the
	// same place gives the same segment.
	Next(ctx context.Context, after Segment) (Segment, bool, error)
	// Rows streams the rows of a segment, in the same order each time. The
	// sequence ends after the first error. No transaction or snapshot is open
	// while a row is in the caller's hands.
	Rows(ctx context.Context, s Segment) iter.Seq2[Row, error]
}
