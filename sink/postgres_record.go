package sink

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// Record writes the results, with the effects, in one transaction that first locks their segments and
// compares the fences. If it is not known whether a commit succeeded, Record ends the session that may still
// hold the locks, and then asks the ledger before it writes again.
func (p *Postgres) Record(ctx context.Context, results []pipeline.Result) error {
	var taken []pipeline.Result
	var refused int
	defer func() { p.records.written += int64(len(results)) }()
	var last postgres.Backend
	err := p.retry.Do(ctx, func(ctx context.Context, first bool) error {
		if !first {
			if err := last.End(ctx, p.pool); err != nil {
				return err
			}
		}
		var questions pgx.Batch
		fences := p.lockSegments(&questions, results, &last)
		return postgres.TransactAsking(ctx, p.pool, &questions, func(tx pgx.Tx) (err error) {
			taken, refused = p.fenced(results, fences)
			unwritten := taken
			if !first {
				if unwritten, err = p.missing(ctx, tx, taken); err != nil {
					return err
				}
			}
			return p.write(ctx, tx, unwritten)
		})
	})
	if err != nil {
		return fmt.Errorf("record %d results: %w", len(results), err)
	}
	p.metrics.refused.Add(float64(refused))
	p.metrics.dropped.Add(float64(len(results) - len(taken)))
	for claim, n := range ofClaims(taken) {
		p.held.count(claim, n)
	}
	return nil
}

// lockSegments has a transaction begin with locking the segments of the results. Once that is answered, the map holds their
// fences, and holder is the session that has the locks.
func (p *Postgres) lockSegments(questions *pgx.Batch, results []pipeline.Result, holder *postgres.Backend) map[int]int64 {
	var numbers []int
	for c := range ofClaims(results) {
		if !slices.Contains(numbers, c.Segment.Number) {
			numbers = append(numbers, c.Segment.Number)
		}
	}
	fences := make(map[int]int64)
	questions.Queue(`
		select number, fence, pg_backend_pid(), now() from bulksub.segments
		where job_id = $1 and number = any($2) order by number for update`, p.job.ID, numbers).
		Query(func(rows pgx.Rows) error {
			var number int
			var fence int64
			_, err := pgx.ForEachRow(rows, []any{&number, &fence, &holder.PID, &holder.Began}, func() error {
				fences[number] = fence
				return nil
			})
			return err
		})
	return fences
}

// fenced drops the results of segments that another process has taken. It notes their claims as lost, and counts them.
func (p *Postgres) fenced(results []pipeline.Result, fences map[int]int64) (kept []pipeline.Result, refused int) {
	lost := make(map[*pipeline.Claim]bool)
	for c := range ofClaims(results) {
		if fences[c.Segment.Number] != c.Fence {
			lost[c] = true
		}
	}
	if len(lost) == 0 {
		return results, 0
	}
	for claim := range lost {
		p.held.lose(claim)
	}
	return slices.DeleteFunc(slices.Clone(results), func(r pipeline.Result) bool { return lost[r.Claim] }), len(lost)
}

// ofClaims counts the results of each claim, part by part: a claim comes as often as results of others lie between
// its own.
func ofClaims(results []pipeline.Result) iter.Seq2[*pipeline.Claim, int] {
	return func(yield func(*pipeline.Claim, int) bool) {
		for first, i := 0, 1; i <= len(results); i++ {
			if i < len(results) && results[i].Claim == results[first].Claim {
				continue
			}
			if !yield(results[first].Claim, i-first) {
				return
			}
			first = i
		}
	}
}

// missing returns the results if no earlier try has written them, and none if one has. A try writes all of
// them or none, and numbers its records from written on.
func (p *Postgres) missing(ctx context.Context, tx pgx.Tx, results []pipeline.Result) ([]pipeline.Result, error) {
	if len(results) == 0 {
		return nil, nil
	}
	var there bool
	c := results[0].Claim
	err := tx.QueryRow(ctx, `select exists (select from bulksub.records where job_id = $1 and segment = $2 and fence = $3 and first >= $4)`,
		p.job.ID, c.Segment.Number, c.Fence, p.records.written).Scan(&there)
	if there {
		return nil, err
	}
	return results, err
}

// Finish closes a segment and notes the counts of its results. If the ledger does not hold as many results as
// were written, as after a failover to a standby that had missed the last commits, the segment is not closed but
// given up: it will be claimed again, and its rows without a result sent again.
func (p *Postgres) Finish(ctx context.Context, c *pipeline.Claim) error {
	number := c.Segment.Number
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		tag, err := p.pool.Exec(ctx, `
			with found as (
				select status, sum(results) as n from bulksub.records where job_id = $1 and segment = $2 group by status
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
