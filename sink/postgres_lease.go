package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// startRenewing keeps the leases until stop is called, which waits for the end of it.
func (p *Postgres) startRenewing(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.keepRenewing(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
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
			p.makeRoom(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// renew moves the end of every lease in our hands. A segment that is no longer
// ours is lost; one that has just been finished, with our fence, is not, nor is the
// end of the job that has just been kept.
func (p *Postgres) renew(ctx context.Context) {
	before := p.held.all()
	if len(before) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.lease/3)
	defer cancel()
	var asked time.Time
	kept := make(map[int]int64)
	err := postgres.Aside(ctx, p.pool, p.lease/15, func(db postgres.Querier) error {
		asked = time.Now()
		rows, _ := db.Query(ctx, `
			update bulksub.segments set lease_end = clock_timestamp() + $3
			where job_id = $1 and number = any($4) and (owner = $2 or done or number = 0 and owner is null)
			returning number, fence`, p.job.ID, p.owner, p.lease, slices.Collect(maps.Keys(before)))
		var number int
		var fence int64
		_, err := pgx.ForEachRow(rows, []any{&number, &fence}, func() error {
			kept[number] = fence
			return nil
		})
		return err
	})
	if err != nil {
		return
	}
	for n, claim := range before {
		if kept[n] == claim.Fence {
			claim.Lease.Extend(asked.Add(p.lease))
		} else {
			p.held.lose(claim)
		}
	}
}

// roomForAll is how many connections the processes that are at work share, as far as each needs
// one: fifty that share a database need less than sixty, though one has been frozen with all
// of its own.
const roomForAll = 6

// makeRoom uses one connection while there is nothing in our hands, and else as many as there is room
// for beside the other processes at work on the database. An error is left to the next time.
func (p *Postgres) makeRoom(ctx context.Context) {
	atWork := roomForAll
	if len(p.held.all()) > 0 {
		ctx, cancel := context.WithTimeout(ctx, p.lease/3)
		defer cancel()
		err := p.pool.QueryRow(ctx, `
			select greatest(1, count(distinct owner)) from bulksub.segments
			where not done and owner is not null and lease_end > clock_timestamp()`).Scan(&atWork)
		if err != nil {
			return
		}
	}
	postgres.Allow(p.pool, min(max(roomForAll/atWork, 1), postgres.MostConnections))
}

// refuse notes that what we had to write for a segment was too late.
func (p *Postgres) refuse(claim *pipeline.Claim) {
	p.metrics.refused.Inc()
	p.held.lose(claim)
}

// lookAround reports whether an unfinished segment that is not in our hands is free,
// and whether another process holds one; from is the first that counts, 0 the end. The
// segments of a process that is known to
// have died on this machine become free, so that a run after a kill need not wait
// for its leases.
func (p *Postgres) lookAround(ctx context.Context, from int) (free, held bool, err error) {
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		free, held = false, false
		rows, _ := p.pool.Query(ctx, `
			select distinct coalesce(owner, ''), coalesce(process, ''), owner is null or owner = $2 or lease_end < clock_timestamp()
			from bulksub.segments where job_id = $1 and not done and number <> all($3) and number >= $4`, p.job.ID, p.owner, p.held.numbers(), from)
		var dead []string
		var owner, process string
		var unheld bool
		_, err := pgx.ForEachRow(rows, []any{&owner, &process, &unheld}, func() error {
			switch {
			case unheld:
				free = true
			case liveness.Dead(process):
				dead = append(dead, owner)
			default:
				held = true
			}
			return nil
		})
		if err == nil && len(dead) > 0 {
			free = true
			err = p.bury(ctx, dead)
		}
		return err
	})
	if err != nil {
		return false, false, fmt.Errorf("look for segments that are left: %w", err)
	}
	return free, held, nil
}

// evict ends the database sessions of processes that were stopped in mid-transaction, and so
// still lock a segment, or the end, that was lost long ago. A transaction is that old only if
// its process would have given it up if it lived: one that is just taking the segment
// over is younger. Whoever may not end them waits until they wake; an error is left to the next
// time.
func (p *Postgres) evict(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	p.pool.Exec(ctx, `
		select pg_terminate_backend(l.pid)
		from bulksub.segments s
		join pg_locks l on l.locktype = 'transactionid' and l.granted and l.transactionid = s.xmax
		join pg_stat_activity a on a.pid = l.pid and a.xact_start < clock_timestamp() - $2::interval
		where s.job_id = $1 and not s.done and s.owner is not null and s.lease_end < clock_timestamp() - $2::interval`, p.job.ID, p.retry.Timeout)
}

func (p *Postgres) bury(ctx context.Context, dead []string) error {
	var freed int64
	var acts pgx.Batch
	unheard.queue(&acts, p.caller.unheard())
	acts.Queue(`update bulksub.segments set owner = null where job_id = $1 and not done and owner = any($2)`, p.job.ID, dead).
		Exec(func(tag pgconn.CommandTag) error { freed = tag.RowsAffected(); return nil })
	err := p.pool.SendBatch(ctx, &acts).Close()
	p.metrics.takeovers.Add(float64(freed))
	return err
}
