package sink

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

const copyRows = `copy bulksub.rows (job_id, segment, row_key, token, topic, status, code, attempts, registration_token, detail) from stdin`

// Record writes the results, with the effects, in one transaction that first locks
// their segments and compares the fences. If the outcome of a commit is unknown, the ledger is
// asked before anything is written again.
func (p *Postgres) Record(ctx context.Context, results []pipeline.Result) error {
	var taken []pipeline.Result
	err := p.retry.Do(ctx, func(ctx context.Context, first bool) error {
		return postgres.Transact(ctx, p.pool, func(tx pgx.Tx) error {
			ours, err := p.fenced(ctx, tx, results)
			if err != nil {
				return err
			}
			taken = ours
			if !first {
				if ours, err = p.missing(ctx, tx, ours); err != nil {
					return err
				}
			}
			return p.write(ctx, tx, ours)
		})
	})
	if err != nil {
		return fmt.Errorf("record %d results: %w", len(results), err)
	}
	for i := range taken {
		p.held.count(taken[i].Claim, 1)
	}
	return nil
}

// fenced locks the segments of the results and drops the results of those that
// are no longer ours.
func (p *Postgres) fenced(ctx context.Context, tx pgx.Tx, results []pipeline.Result) ([]pipeline.Result, error) {
	lost := make(map[*pipeline.Claim]bool)
	var numbers []int
	for i := range results {
		if c := results[i].Claim; !lost[c] {
			lost[c] = true
			numbers = append(numbers, c.Segment.Number)
		}
	}
	rows, _ := tx.Query(ctx, `
		select number, fence from bulksub.segments
		where job_id = $1 and number = any($2) order by number for update`, p.job.ID, numbers)
	fences := make(map[int]int64)
	var number int
	var fence int64
	_, err := pgx.ForEachRow(rows, []any{&number, &fence}, func() error {
		fences[number] = fence
		return nil
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(lost, func(c *pipeline.Claim, _ bool) bool { return fences[c.Segment.Number] == c.Fence })
	if len(lost) == 0 {
		return results, nil
	}
	for claim := range lost {
		p.refuse(claim)
	}
	kept := slices.DeleteFunc(slices.Clone(results), func(r pipeline.Result) bool { return lost[r.Claim] })
	p.metrics.dropped.Add(float64(len(results) - len(kept)))
	return kept, nil
}

// missing drops the results that an earlier try has written after all: the ones
// of a transaction are there together.
func (p *Postgres) missing(ctx context.Context, tx pgx.Tx, results []pipeline.Result) ([]pipeline.Result, error) {
	if len(results) == 0 {
		return nil, nil
	}
	var there bool
	err := tx.QueryRow(ctx, `select exists (select from bulksub.rows where job_id = $1 and segment = $2 and row_key = $3)`,
		p.job.ID, results[0].Claim.Segment.Number, results[0].Key).Scan(&there)
	if there {
		return nil, err
	}
	return results, err
}

func (p *Postgres) copyIn(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error {
	_, err := tx.Conn().PgConn().CopyFrom(ctx, &copyText{job: strconv.FormatInt(p.job.ID, 10), left: results}, copyRows)
	return err
}

// copyText reads results in COPY's text format, a few at a time.
type copyText struct {
	job  string
	left []pipeline.Result
	text []byte // written and not yet read
	room []byte // for the next text
}

const copyBytes = 32 << 10

// Read implements [io.Reader].
func (c *copyText) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		c.text = c.room[:0]
		for len(c.left) > 0 && len(c.text) < copyBytes {
			c.text = appendRow(c.text, c.job, &c.left[0])
			c.left = c.left[1:]
		}
		c.room = c.text
	}
	if len(c.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.text)
	c.text = c.text[n:]
	return n, nil
}

// appendRow writes a result in COPY's text format (PostgreSQL documentation,
// COPY, "Text Format").
func appendRow(b []byte, job string, r *pipeline.Result) []byte {
	b = append(b, job...)
	b = strconv.AppendInt(append(b, '\t'), int64(r.Claim.Segment.Number), 10)
	b = appendText(append(b, '\t'), r.Key)
	b = appendText(append(b, '\t'), r.Token)
	b = appendText(append(b, '\t'), r.Topic)
	b = appendText(append(b, '\t'), string(r.Status))
	b = appendNullable(append(b, '\t'), r.Code)
	b = strconv.AppendInt(append(b, '\t'), int64(r.Attempts), 10)
	b = appendNullable(append(b, '\t'), r.RegistrationToken)
	b = appendNullable(append(b, '\t'), r.Detail)
	return append(b, '\n')
}

func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, `\N`...)
	}
	return appendText(b, s)
}

// appendText writes the storable text and escapes what COPY reads specially.
func appendText(b []byte, s string) []byte {
	if plain(s) {
		return append(b, s...)
	}
	s = storable(s)
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\':
			b = append(b, `\\`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// plain reports whether COPY reads the text as it stands.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// Finish closes a segment and notes the counts of its results. One of which the ledger holds other results
// than were written, as after a failover to a standby that had missed the last commits, is not closed but given up,
// to be claimed and asked about again.
func (p *Postgres) Finish(ctx context.Context, c *pipeline.Claim) error {
	number := c.Segment.Number
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		tag, err := p.pool.Exec(ctx, `
			with found as (
				select status, count(*) as n from bulksub.rows where job_id = $1 and segment = $2 group by status
			)
			update bulksub.segments
			set done = true, owner = null, counts = coalesce((select jsonb_object_agg(status, n) from found), '{}')
			where job_id = $1 and number = $2 and fence = $3 and $4 = (select coalesce(sum(n), 0) from found)`,
			p.job.ID, number, c.Fence, p.held.counted(c))
		if err == nil && tag.RowsAffected() == 0 {
			p.refuse(c)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("finish segment %d: %w", number, err)
	}
	p.held.release(c)
	return nil
}
