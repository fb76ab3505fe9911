package pipeline

import "context"

// record is what goes to the sink at a time: all that has finished since the
// last time.
type record struct {
	results  []Result
	items    []*item // the rows that the results are for
	finished []*claim
	count    bool // all results of the job are to be counted
}

func (rec *record) empty() bool { return len(rec.results) == 0 && len(rec.finished) == 0 && !rec.count }

func (rec *record) add(it *item, res Result) {
	rec.results = append(rec.results, res)
	rec.items = append(rec.items, it)
}

func (rec *record) addAll(more record) {
	rec.results = append(rec.results, more.results...)
	rec.items = append(rec.items, more.items...)
}

// emptied is the room of the record, for another.
func (rec *record) emptied() record {
	clear(rec.results)
	clear(rec.items)
	return record{results: rec.results[:0], items: rec.items[:0]}
}

// ack is the recorder's answer.
type ack struct {
	record record
	counts Counts // if they were asked for
	err    error
}

// record writes results until the loop has no more.
func (r *run) record(ctx context.Context) error {
	for rec := range r.records {
		a := ack{record: rec, err: r.write(ctx, rec)}
		if rec.count && a.err == nil {
			a.counts, a.err = r.job.Sink.Counts(ctx)
		}
		r.acks <- a
	}
	return nil
}

func (r *run) write(ctx context.Context, rec record) error {
	if len(rec.results) > 0 {
		if err := r.job.Sink.Record(ctx, rec.results); err != nil {
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
