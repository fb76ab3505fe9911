package pipeline

import "context"

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

// record writes results until the loop has no more.
func (r *run) record(ctx context.Context) error {
	var results []Result // room for them
	for rec := range r.records {
		for _, it := range rec.items {
			results = append(results, it.result())
		}
		a := ack{record: rec, err: r.write(ctx, results, rec.finished)}
		if rec.count && a.err == nil {
			a.counts, a.err = r.job.Sink.Counts(ctx)
		}
		r.acks <- a
		clear(results)
		results = results[:0]
	}
	return nil
}

func (r *run) write(ctx context.Context, results []Result, finished []*claim) error {
	if len(results) > 0 {
		if err := r.job.Sink.Record(ctx, results); err != nil {
			return err
		}
	}
	for _, c := range finished {
		if err := r.job.Sink.Finish(ctx, c.Claim); err != nil {
			return err
		}
	}
	return nil
}
