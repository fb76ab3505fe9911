package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

// Next cuts a range of the next 50,000 places, or of fewer if [Postgres.goesOn].
func (p *Postgres) Next(ctx context.Context, after pipeline.Segment) (pipeline.Segment, bool, error) {
	var last bounds
	if after.Number > 0 {
		var err error
		if last, err = p.parseBounds(after.Bounds); err != nil {
			return pipeline.Segment{}, false, err
		}
	}
	next := bounds{After: last.To}
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		dense, err := p.goesOn(ctx, last, &next)
		if err == nil && !dense {
			err = p.place(ctx, &next, "asc", fmt.Sprintf("offset %d", segmentRows-1))
		}
		if errors.Is(err, pgx.ErrNoRows) {
			err = p.place(ctx, &next, "desc", "")
		}
		return p.relation.Explain(err)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return pipeline.Segment{}, false, nil
	}
	if err != nil {
		return pipeline.Segment{}, false, p.lost(err)
	}
	text, _ := json.Marshal(next)
	return pipeline.Segment{Number: after.Number + 1, Bounds: string(text)}, true, nil
}

// goesOn ends the next segment 50,000 integers on, if the last one was as wide and each of a few spots in the next one has
// its row: then it has few gaps, and no more rows than it is wide. To count them would take the database 4 ms.
func (p *Postgres) goesOn(ctx context.Context, last bounds, next *bounds) (bool, error) {
	if len(p.order) > 1 || !integer(p.relation.Key) || last.After == nil {
		return false, nil
	}
	from, fromErr := strconv.ParseInt(last.After[0], 10, 64)
	at, atErr := strconv.ParseInt(last.To[0], 10, 64)
	if fromErr != nil || atErr != nil || at-from != segmentRows || at > math.MaxInt64-segmentRows {
		return false, nil
	}
	// No even spacing of keys but 1 meets all of them.
	keys := []int64{at + 9_973, at + 19_997, at + 29_989, at + 40_009, at + segmentRows}
	var rows int
	sql := p.relation.Select("count(*)", p.relation.Key.SQL()+" = any($1::bigint[])")
	if err := p.pool.QueryRow(ctx, sql, keys).Scan(&rows); err != nil || rows < len(keys) {
		return false, err
	}
	next.To = []string{strconv.FormatInt(at+segmentRows, 10)}
	return true, nil
}

// place finds the place at which the next segment ends.
func (p *Postgres) place(ctx context.Context, next *bounds, direction, offset string) error {
	var inner, texts, by []string
	to := make([]*string, len(p.order))
	into := make([]any, len(p.order))
	for i, o := range p.order {
		inner = append(inner, fmt.Sprintf("%s as k%d", o.sql, i))
		texts = append(texts, fmt.Sprintf("k%d::text", i))
		by = append(by, fmt.Sprintf("%d %s", i+1, direction))
		into[i] = &to[i]
	}
	condition, args := p.compare(">", next.After, nil)
	sql := fmt.Sprintf("select %s from (%s order by %s %s limit 1) as keys", strings.Join(texts, ", "),
		p.relation.Select(strings.Join(inner, ", "), condition), strings.Join(by, ", "), offset)
	if err := p.pool.QueryRow(ctx, sql, args...).Scan(into...); err != nil {
		return err
	}
	next.To = make([]string, len(to))
	for i, text := range to {
		if text == nil {
			return p.relation.Flaw("the key column %q has nulls", p.relation.Key.Name)
		}
		if !utf8.ValidString(*text) {
			return p.relation.Flaw("the key column %q is not valid UTF-8; name another with --key-column", p.relation.Key.Name)
		}
		next.To[i] = *text
	}
	return nil
}
