package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// Ending is the end of a job in this process's hands. The zero Ending is for a job that has
// one process.
type Ending struct {
	Lease *pipeline.Lease
	Fence Fence
}

// Fence comes first in each transaction of the job's last work, which must not be committed
// if it fails: the end is another process's by now. It holds the end until the transaction
// is over. Nothing is retried for its error.
type Fence func(ctx context.Context, tx pgx.Tx) error

// endPoll is how often a process asks whether another has ended the job; see steerEvery.
const endPoll = 2500 * time.Millisecond

// End has the last work of a job done, by one of its processes and once. The end is one more
// lease, of a segment 0 without rows that can be had when all others are done: who takes it
// works, and keeps with the job what work returns; the job is done then. The others wait, ask
// every two and a half seconds, and take the end over when the lease has run out or its holder has
// died on this machine. All return what was kept, word for word; and so does the next run
// if all die. Who finds that too little calls End again: that is the job's next end.
//
// If work fails, End returns the error, and leaves the end to another process or to the next
// run. A job that was done when it was opened has its work done again. It is
// [pipeline.ErrHeldElsewhere] if a segment is not done after all, and a [*ClosedError] if
// somebody has cancelled the job.
func (p *Postgres) End(ctx context.Context, work func(context.Context, Ending) (json.RawMessage, error)) (json.RawMessage, error) {
	for {
		claim, outcome, err := p.waitForEnd(ctx)
		if claim == nil {
			return outcome, err
		}
		fence := func(ctx context.Context, tx pgx.Tx) error { return p.fencedEnd(ctx, tx, claim) }
		outcome, err = work(ctx, Ending{Lease: claim.Lease, Fence: fence})
		if err == nil {
			err = p.keepEnd(ctx, claim, outcome)
		}
		if !claim.Lease.Lost() {
			return outcome, err
		}
	}
}

// waitForEnd returns the end when it is ours, or else the outcome.
func (p *Postgres) waitForEnd(ctx context.Context) (*pipeline.Claim, json.RawMessage, error) {
	for {
		var now atEnd
		err := p.retry.Do(ctx, func(ctx context.Context, _ bool) (err error) {
			if now, err = p.lookAtEnd(ctx, p.pool); err == nil && !now.free && liveness.Dead(now.process) {
				now.free, err = true, p.bury(ctx, []string{now.owner})
			}
			return err
		})
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("look for the end of job %s: %w", p.job.Name, err)
		case now.over:
			p.job.ends = now.ended
			return nil, now.outcome, nil
		}
		if err := closed(p.job.Name, now.state); err != nil {
			return nil, nil, err
		}
		if now.left {
			return nil, nil, fmt.Errorf("end job %s: %w", p.job.Name, pipeline.ErrHeldElsewhere)
		}
		if now.free {
			if claim, err := p.claimEnd(ctx); claim != nil || err != nil {
				p.makeRoom(ctx)
				return claim, nil, err
			}
			p.evict(ctx)
		}
		select {
		case <-time.After(endPoll):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// atEnd is how far the end of a job is.
type atEnd struct {
	state          string
	left           bool  // a segment is not done
	ended          int64 // how often the end has been reached
	over           bool  // somebody has reached it since this process opened the job, or last looked at its outcome
	outcome        json.RawMessage
	free           bool
	owner, process string // that have it if it is not free
}

func (p *Postgres) lookAtEnd(ctx context.Context, q postgres.Querier) (now atEnd, err error) {
	err = q.QueryRow(ctx, `
		select state, not planned or exists (select from bulksub.segments where job_id = j.id and number > 0 and not done),
			ended, ended > $2, case when ended > $2 then outcome end,
			e.owner is null or e.owner = $3 or e.lease_end < clock_timestamp(), coalesce(e.owner, ''), coalesce(e.process, '')
		from bulksub.jobs j left join bulksub.segments e on e.job_id = j.id and e.number = 0 where j.id = $1`,
		p.job.ID, p.job.ends, p.owner).Scan(&now.state, &now.left, &now.ended, &now.over, &now.outcome, &now.free, &now.owner, &now.process)
	return now, err
}

// claimEnd takes the end, unless another process is faster.
func (p *Postgres) claimEnd(ctx context.Context) (claim *pipeline.Claim, err error) {
	var s pipeline.Segment
	var fence int64
	var expired bool
	var asked time.Time
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		asked = time.Now()
		return postgres.Transact(ctx, p.pool, func(tx pgx.Tx) (err error) {
			_, err = tx.Exec(ctx, `insert into bulksub.segments (job_id, number, bounds) values ($1, 0, '') on conflict do nothing`, p.job.ID)
			if err != nil {
				return err
			}
			if s, fence, expired, err = p.take(ctx, tx, true); err != nil {
				return err
			}
			now, err := p.lookAtEnd(ctx, tx)
			if err == nil && (now.over || now.left) {
				err = pgx.ErrNoRows
			}
			return err
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("claim the end of job %s: %w", p.job.Name, err)
	}
	if expired {
		p.metrics.takeovers.Inc()
	}
	return p.hold(s, fence, asked), nil
}

// fencedEnd locks the end and compares its fence. Others cannot take it then, and its lease
// can be renewed all the same: a transaction may take longer than that.
func (p *Postgres) fencedEnd(ctx context.Context, tx pgx.Tx, claim *pipeline.Claim) error {
	err := tx.QueryRow(ctx, `select from bulksub.segments where job_id = $1 and number = 0 and fence = $2 for key share`, p.job.ID, claim.Fence).Scan()
	if errors.Is(err, pgx.ErrNoRows) {
		p.refuse(claim)
	}
	return err
}

// keepEnd closes the job and keeps the outcome with it. One that is kept already, by a commit whose answer
// was lost, is nobody's any more.
func (p *Postgres) keepEnd(ctx context.Context, claim *pipeline.Claim, outcome json.RawMessage) error {
	state := StateOpen
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return postgres.Transact(ctx, p.pool, func(tx pgx.Tx) error {
			if err := p.fencedEnd(ctx, tx, claim); err != nil {
				return err
			}
			var changes pgx.Batch
			changes.Queue(`
				update bulksub.jobs set finished_at = case when state = 'done' then finished_at else clock_timestamp() end,
					state = 'done', ended = ended + 1, outcome = $2
				where id = $1 and state in ('open', 'done')
					and exists (select from bulksub.segments where job_id = $1 and number = 0 and owner = $3)`, p.job.ID, outcome, p.owner)
			changes.Queue(`update bulksub.segments set owner = null where job_id = $1 and number = 0`, p.job.ID)
			changes.Queue(`select state from bulksub.jobs where id = $1`, p.job.ID).QueryRow(func(row pgx.Row) error { return row.Scan(&state) })
			return tx.SendBatch(ctx, &changes).Close()
		})
	})
	if err != nil {
		return fmt.Errorf("close job %s: %w", p.job.Name, err)
	}
	p.held.release(claim)
	return closed(p.job.Name, state)
}
