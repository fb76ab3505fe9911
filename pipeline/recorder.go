package pipeline

import (
	"context"
	"slices"
)

// record is what goes to the sink at a time: all that has finished since the
// last time.
type record struct {
	items    []*item // rows that have ended
	finished []*claim
	count    bool // all results of the job are to be counted
}

func (rec *record) empty() bool { return len(rec.items) == 0 && len(rec.finished) == 0 && !rec.count }

// emptied is the room of the record, for another.
func (rec *record) emptied() record {
	clear(rec.items)
	return record{items: rec.items[:0]}
}

// ack is the recorder's answer.
type ack struct {
	record record
	counts Counts // if they were asked for
	err    error
}

// mostRecorded is how many results go to the sink in one piece.
const mostRecorded = 8192

// record writes results until the loop has no more.
func (r *run) record(ctx context.Context) error {
	room := make([]Result, 0, mostRecorded)
	for rec := range r.records {
		a := ack{record: rec, err: r.write(ctx, rec, room)}
		if rec.count && a.err == nil {
			a.counts, a.err = r.job.Sink.Counts(ctx)
		}
		r.acks <- a
	}
	return nil
}

func (r *run) write(ctx context.Context, rec record, room []Result) error {
	for items := range slices.Chunk(rec.items, mostRecorded) {
		results := room
		for _, it := range items {
			results = append(results, it.result())
		}
		err := r.job.Sink.Record(ctx, results)
		if clear(results); err != nil {
			return err
		}
	}
	for _, c := range rec.finished {
		if err := r.job.Sink.Finish(ctx, c.Claim); err != nil {
			return err
		}
	}
	return nil
}
