package pipeline

import (
	"context"
	"iter"
)

// record is what goes to the sink at a time: all that has finished since the
// last time.
type record struct {
	items    []*item // rows that have ended
	ends     []int   // how many there were when a batch had ended
	finished []*claim
	count    bool // all results of the job are to be counted
}

func (rec *record) empty() bool { return len(rec.items) == 0 && len(rec.finished) == 0 && !rec.count }

// emptied is the room of the record, for another.
func (rec *record) emptied() record {
	clear(rec.items)
	return record{items: rec.items[:0], ends: rec.ends[:0]}
}

// mostRecorded is how many results go to the sink at a time, a batch more or less.
const mostRecorded = 8192

// pieces are the rows of so many results each. A batch is not parted.
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
	var room []Result
	for rec := range r.records {
		a := ack{record: rec}
		if room, a.err = r.write(ctx, rec, room); rec.count && a.err == nil {
			a.counts, a.err = r.job.Sink.Counts(ctx)
		}
		r.acks <- a
	}
	return nil
}

// write has the sink take a record, and returns the room for the next results.
func (r *run) write(ctx context.Context, rec record, room []Result) ([]Result, error) {
	for items := range rec.pieces() {
		results := room[:0]
		for _, it := range items {
			results = append(results, it.result())
		}
		err := r.job.Sink.Record(ctx, results)
		clear(results)
		if room = results; err != nil {
			return room, err
		}
	}
	for _, c := range rec.finished {
		if err := r.job.Sink.Finish(ctx, c.Claim); err != nil {
			return room, err
		}
	}
	return room, nil
}
