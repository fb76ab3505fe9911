package pipeline

import (
	"context"
	"iter"
)

// record is what goes to the sink at a time: all that has finished since the
// last time.
type record struct {
	items    []*item // rows that have ended
	ends     []int   // how many of them there were after each batch
	finished []*claim
	count    bool // all results of the job are to be counted
}

func (rec *record) empty() bool { return len(rec.items) == 0 && len(rec.finished) == 0 && !rec.count }

// emptied is a record without content that uses the same memory.
func (rec *record) emptied() record {
	clear(rec.items)
	return record{items: rec.items[:0], ends: rec.ends[:0]}
}

// mostRecorded is how many results make a piece; the batch that reaches it is not parted.
const mostRecorded = 8192

// pieces parts the rows into what goes to the sink at a time: so many rows, up to the end of a batch.
func (rec *record) pieces() iter.Seq[[]*item] {
	return func(yield func([]*item) bool) {
		first := 0
		for _, end := range append(rec.ends, len(rec.items)) {
			if end < len(rec.items) && end-first < mostRecorded || end == first {
				continue
			}
			if !yield(rec.items[first:end]) {
				return
			}
			first = end
		}
	}
}

// ack is the recorder's answer.
type ack struct {
	record record
	counts Counts // if they were asked for
	err    error
}

// record writes results until the loop has no more.
func (r *run) record(ctx context.Context) error {
	var results []Result
	for rec := range r.records {
		a := ack{record: rec}
		if results, a.err = r.write(ctx, rec, results); rec.count && a.err == nil {
			a.counts, a.err = r.job.Sink.Counts(ctx)
		}
		r.acks <- a
	}
	return nil
}

// write has the sink take a record. It writes the results of a piece over those of the one before,
// and returns the slice for the next record.
func (r *run) write(ctx context.Context, rec record, results []Result) ([]Result, error) {
	for items := range rec.pieces() {
		results = results[:0]
		for _, it := range items {
			results = append(results, it.result())
		}
		err := r.job.Sink.Record(ctx, results)
		clear(results)
		if err != nil {
			return results, err
		}
	}
	for _, c := range rec.finished {
		if err := r.job.Sink.Finish(ctx, c.Claim); err != nil {
			return results, err
		}
	}
	return results, nil
}
