package sink

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

// Tally takes how many rows say a word under a key of their detail. It may be called
// several times for the same word.
type Tally func(key, word string, rows int64)

// Tally counts what the results that are ok, of the whole job, say under the keys of
// their detail: a string is a word, and so is each key of an object. It reads all
// results.
func (c *CSV) Tally(ctx context.Context, keys []string, count Tally) error {
	return c.visit(ctx, func(r pipeline.Result) { count.see(r.Detail, keys) })
}

// Tally counts as [CSV.Tally] does.
func (m *Memory) Tally(_ context.Context, keys []string, count Tally) error {
	m.visit(func(r pipeline.Result) { count.see(r.Detail, keys) })
	return nil
}

// see counts one detail.
func (count Tally) see(detail string, keys []string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(detail), &fields) != nil {
		return
	}
	for _, key := range keys {
		var word string
		var words map[string]json.RawMessage
		switch value := fields[key]; {
		case json.Unmarshal(value, &word) == nil && string(value) != "null":
			count(key, word, 1)
		case json.Unmarshal(value, &words) == nil:
			for word := range words {
				count(key, word, 1)
			}
		}
	}
}

// Tally counts as [CSV.Tally] does, in the database: a statement for each segment, so
// that none is long (P7), and only numbers travel. It leaves out segments that are not done.
func (p *Postgres) Tally(ctx context.Context, keys []string, count Tally) error {
	segments, err := p.finished(ctx)
	if err != nil {
		return err
	}
	for _, s := range segments {
		words, err := p.tallySegment(ctx, s.number, keys)
		if err != nil {
			return fmt.Errorf("count the details of segment %d: %w", s.number, err)
		}
		for _, w := range words {
			count(w.Key, w.Word, w.Rows)
		}
	}
	return nil
}

type tallied struct {
	Key, Word string
	Rows      int64
}

func (p *Postgres) tallySegment(ctx context.Context, number int, keys []string) (words []tallied, err error) {
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, _ := p.pool.Query(ctx, `
			select key, word, count(*) from (
				select k.key, r.detail->k.key as value
				from bulksub.rows r cross join unnest($3::text[]) as k (key)
				where r.job_id = $1 and r.segment = $2 and r.status = 'ok' and r.detail is not null
			) as said cross join lateral (
				select value #>> '{}' as word where json_typeof(value) = 'string'
				union all
				select json_object_keys(case json_typeof(value) when 'object' then value else '{}' end)
			) as words group by key, word`, p.job.ID, number, keys)
		words, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tallied])
		return err
	})
	return words, err
}
