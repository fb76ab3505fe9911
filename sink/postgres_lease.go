package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/pipeline"
)

// startRenewing keeps the leases until Close.
func (p *Postgres) startRenewing(ctx context.Context) {
	ctx, p.renewing = context.WithCancel(context.WithoutCancel(ctx))
	p.renewed = make(chan struct{})
	go func() {
		defer close(p.renewed)
		p.keepRenewing(ctx)
	}()
}

// keepRenewing renews until ctx ends. A renewal that fails is tried again at the
// next beat; until one succeeds the leases run out by themselves.
func (p *Postgres) keepRenewing(ctx context.Context) {
	beat := time.NewTicker(p.lease / 3)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			p.renew(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// renew moves the end of every lease in our hands. A segment that is no longer
// ours is lost; one that has just been finished, with our fence, is not.
func (p *Postgres) renew(ctx context.Context) {
	before := p.holdings()
	if len(before) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.lease/3)
	defer cancel()
	asked := time.Now()
	rows, _ := p.pool.Query(ctx, `
		update bulksub.segments set lease_end = clock_timestamp() + $3
		where job_id = $1 and number = any($4) and (owner = $2 or done)
		returning number, fence`, p.job.ID, p.owner, p.lease, slices.Collect(maps.Keys(before)))
	kept := make(map[int]int64)
	var number int
	var fence int64
	_, err := pgx.ForEachRow(rows, []any{&number, &fence}, func() error {
		kept[number] = fence
		return nil
	})
	if err != nil {
		return
	}
	for n, claim := range before {
		if kept[n] == claim.Fence {
			claim.Lease.Extend(asked.Add(p.lease))
		} else {
			p.lose(claim)
		}
	}
}

// holdings is a copy of what is in our hands.
func (p *Postgres) holdings() map[int]*pipeline.Claim {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.held)
}

// release takes a segment out of our hands. It reports whether it was there.
func (p *Postgres) release(claim *pipeline.Claim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held[claim.Segment.Number] != claim {
		return false
	}
	delete(p.held, claim.Segment.Number)
	return true
}

// lose notes that a segment is somebody else's now, unless it has been finished
// meanwhile.
func (p *Postgres) lose(claim *pipeline.Claim) {
	if p.release(claim) {
		claim.Lease.Lose()
	}
}

// buryDead takes the segments of processes that are known to have died on this
// machine, so that a run after a kill need not wait for their leases.
func (p *Postgres) buryDead(ctx context.Context) error {
	rows, _ := p.pool.Query(ctx, `
		select distinct owner, coalesce(process, '') from bulksub.segments
		where job_id = $1 and not done and owner <> $2`, p.job.ID, p.owner)
	var dead []string
	var owner, place string
	_, err := pgx.ForEachRow(rows, []any{&owner, &place}, func() error {
		if liveness.Dead(place) {
			dead = append(dead, owner)
		}
		return nil
	})
	if err == nil && len(dead) > 0 {
		_, err = p.pool.Exec(ctx, `update bulksub.segments set owner = null where job_id = $1 and not done and owner = any($2)`, p.job.ID, dead)
	}
	if err != nil {
		return fmt.Errorf("look for processes that have died: %w", err)
	}
	return nil
}

// heldElsewhere reports whether a process that has not died holds a segment.
func (p *Postgres) heldElsewhere(ctx context.Context) (held bool, err error) {
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		if err := p.buryDead(ctx); err != nil {
			return err
		}
		return p.pool.QueryRow(ctx, `
			select exists (select from bulksub.segments
				where job_id = $1 and not done and owner is not null and lease_end > clock_timestamp())`, p.job.ID).Scan(&held)
	})
	if err != nil {
		return false, fmt.Errorf("look for other processes: %w", err)
	}
	return held, nil
}
