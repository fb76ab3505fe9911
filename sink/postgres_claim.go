package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// Claim takes an open segment that nobody holds, or cuts the next one. While others
// hold all that is left, each call is one short query.
func (p *Postgres) Claim(ctx context.Context, plan pipeline.Plan) (*pipeline.Claim, error) {
	claim, err := p.claim(ctx, plan)
	p.held.restElsewhere = errors.Is(err, pipeline.ErrHeldElsewhere)
	if err == nil {
		err = p.lookForSyncs(ctx)
	}
	p.makeRoom(ctx)
	return claim, err
}

// claim tries twice: a segment that is free and cannot be taken at the second try
// either is locked by the last transaction of the process that held it, see evict.
func (p *Postgres) claim(ctx context.Context, plan pipeline.Plan) (*pipeline.Claim, error) {
	if p.held.restElsewhere {
		if err := p.nothingToTake(ctx); err != nil {
			return nil, err
		}
	}
	for again := false; ; {
		claim, err := p.claimOpen(ctx)
		if err != nil || claim != nil {
			return claim, err
		}
		claim, planned, err := p.claimNext(ctx, plan)
		if err != nil || claim != nil {
			return claim, err
		}
		if !planned {
			continue
		}
		if err := p.nothingToTake(ctx); err != nil {
			return nil, err
		}
		if again {
			p.evict(ctx)
			return nil, pipeline.ErrHeldElsewhere
		}
		again = true
	}
}

// claimOpen takes the first open segment that nobody holds, with the rows in it
// that have a result. Those are read when it is ours already, and no lock is held: a process
// that falls silent meanwhile, with the server in the middle of an answer that nobody takes, could
// else keep the segment from others for good.
func (p *Postgres) claimOpen(ctx context.Context) (*pipeline.Claim, error) {
	claim, err := p.takeOpen(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	var done map[string]struct{}
	if err == nil {
		done, err = p.recorded(ctx, claim.Segment.Number)
	}
	if err != nil {
		return nil, fmt.Errorf("claim a segment: %w", err)
	}
	p.held.count(claim, len(done))
	claim.Recorded = func(key string) bool { _, ok := done[key]; return ok }
	return claim, nil
}

// takeOpen takes the segment. What failed in it is forgotten: this run asks again.
func (p *Postgres) takeOpen(ctx context.Context) (*pipeline.Claim, error) {
	var s pipeline.Segment
	var fence int64
	var expired bool
	var asked time.Time
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		asked = time.Now()
		return postgres.Transact(ctx, p.pool, func(tx pgx.Tx) (err error) {
			if s, fence, expired, err = p.take(ctx, tx, false); err != nil {
				return err
			}
			if expired {
				if _, err := tx.Exec(ctx, unheard.sql, unheard.with(p.caller.unheard())...); err != nil {
					return err
				}
			}
			_, err = tx.Exec(ctx, `delete from bulksub.records where job_id = $1 and segment = $2 and status = 'failed'`, p.job.ID, s.Number)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if expired {
		p.metrics.takeovers.Inc()
	}
	return p.hold(s, fence, asked), nil
}

// take takes a segment, or the end of the job, and tells whether another process let its
// lease expire.
func (p *Postgres) take(ctx context.Context, tx pgx.Tx, end bool) (s pipeline.Segment, fence int64, expired bool, err error) {
	err = tx.QueryRow(ctx, `
		update bulksub.segments s set owner = $2, process = $3, fence = s.fence + 1, lease_end = clock_timestamp() + $4
		from (
			select number, owner from bulksub.segments
			where job_id = $1 and not done and number <> all($5) and (number = 0) = $6
			and (owner is null or owner = $2 or lease_end < clock_timestamp())
			order by number limit 1 for update skip locked) as free
		where s.job_id = $1 and s.number = free.number
		returning s.number, s.bounds, s.fence, coalesce(free.owner <> $2, false)`,
		p.job.ID, p.owner, p.process, p.lease, p.held.numbers(), end).Scan(&s.Number, &s.Bounds, &fence, &expired)
	return s, fence, expired, err
}

// recorded lists the rows of a segment that have a result.
func (p *Postgres) recorded(ctx context.Context, segment int) (done map[string]struct{}, err error) {
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, _ := p.pool.Query(ctx, `select keys, results from bulksub.records where job_id = $1 and segment = $2`, p.job.ID, segment)
		done = make(map[string]struct{})
		var keys string
		var results int
		_, err := pgx.ForEachRow(rows, []any{&keys, &results}, func() error {
			for key := range parted(keys, results) {
				done[key] = struct{}{}
			}
			return nil
		})
		return err
	})
	return done, err
}

// hold notes that a segment is ours.
func (p *Postgres) hold(s pipeline.Segment, fence int64, asked time.Time) *pipeline.Claim {
	lease := new(pipeline.Lease)
	lease.Extend(asked.Add(p.lease))
	claim := &pipeline.Claim{Segment: s, Fence: fence, Lease: lease}
	p.held.add(claim)
	return claim
}

// claimNext cuts the segment behind the last one. Two processes that cut at the
// same place make the same segment, and the second one's is dropped.
func (p *Postgres) claimNext(ctx context.Context, plan pipeline.Plan) (claim *pipeline.Claim, planned bool, err error) {
	last, planned, err := p.lastSegment(ctx)
	if err != nil || planned {
		return nil, planned, err
	}
	next, more, err := plan(ctx, last)
	if err != nil {
		return nil, false, err
	}
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		if !more {
			_, err := p.pool.Exec(ctx, `update bulksub.jobs set planned = true where id = $1`, p.job.ID)
			return err
		}
		asked := time.Now()
		tag, err := p.pool.Exec(ctx, `
			insert into bulksub.segments (job_id, number, bounds, owner, process, fence, lease_end)
			values ($1, $2, $3, $4, $5, 1, clock_timestamp() + $6) on conflict do nothing`,
			p.job.ID, next.Number, next.Bounds, p.owner, p.process, p.lease)
		if err == nil && tag.RowsAffected() == 1 {
			claim = p.hold(next, 1, asked)
		}
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("add segment %d: %w", next.Number, err)
	}
	return claim, !more, nil
}

func (p *Postgres) lastSegment(ctx context.Context) (last pipeline.Segment, planned bool, err error) {
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return p.pool.QueryRow(ctx, `
			select j.planned, coalesce(s.number, 0), coalesce(s.bounds, '')
			from bulksub.jobs j left join lateral (
				select number, bounds from bulksub.segments where job_id = j.id order by number desc limit 1) s on true
			where j.id = $1`, p.job.ID).Scan(&planned, &last.Number, &last.Bounds)
	})
	if err != nil {
		return last, false, fmt.Errorf("look for the last segment: %w", err)
	}
	return last, planned, nil
}

// nothingToTake says why there is nothing to claim, or nil if there may be
// something after all.
func (p *Postgres) nothingToTake(ctx context.Context) error {
	free, held, err := p.lookAround(ctx, 1)
	switch {
	case err != nil:
		return err
	case free:
		return nil
	case held:
		return pipeline.ErrHeldElsewhere
	default:
		return pipeline.ErrNothingLeft
	}
}
