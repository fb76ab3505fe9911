package budget

import (
	"context"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

// leak computes what is in the bucket now, and the rate at which it runs out: until now
// at the ceiling of before if that was higher. The clock may have been read before the row
// was to be had: it never stands behind the row.
const leak = `
	select *, least(rate, top) as outflow, case when ran = 'infinity' then 0
		else greatest(0, level - extract(epoch from now - level_at) * ran) end as content
	from (
		select *, least(rate, greatest(ceiling, $2)) as ran,
			case when $2 >= ceiling or ceiling_at < now - interval '2 s' then $2 else ceiling end as top
		from (select *, greatest(clock_timestamp(), level_at) as now from bulksub.budgets where project = $1 for update) as row
	) as with_top`

// poured is the database's answer to one who wants to send.
type poured struct {
	grant pipeline.Grant // none: it is too long to promise anything; ask again after the wait
	wait  time.Duration  // until the call may go

	asked, answered time.Time     // by our own clock
	held            time.Duration // up until others that asked had been answered
}

// take pours n operations in and says how long it takes until they may go. What was spent without
// a ceiling has gone, and is not waited for: it tells how fast all went before a quota was met.
func (b *Shared) take(ctx context.Context, n, spent int) (p poured, err error) {
	var wait, held, rate float64
	var granted, throttled bool
	var now time.Time
	err = b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		p.asked = time.Now()
		return b.pool.QueryRow(ctx, `
			with bucket as materialized (`+leak+`), turn as (
				select *, greatest(content / outflow, extract(epoch from hold_until - now)) as seconds from bucket
			), poured as (
				update bulksub.budgets b set
					level = content + $3, level_at = now,
					ceiling = top, ceiling_at = case when $2 >= top then now else t.ceiling_at end,
					pace = case when fresh then t.pace else t.paced / greatest(extract(epoch from now - t.paced_at), 0.5) end,
					paced = case when fresh then t.paced else 0 end + $3 + $5,
					paced_at = case when fresh then t.paced_at else now end
				from (select *, now < paced_at + interval '0.5 s' as fresh from turn) t
				where b.project = t.project and seconds <= $4
				returning b.project
			)
			select now, extract(epoch from now - statement_timestamp()), outflow, rate < top, greatest(seconds, 0), exists (select from poured) from turn`,
			b.project, b.own.Ceiling(), float64(n), ahead.Seconds(), float64(spent)).Scan(&now, &held, &rate, &throttled, &wait, &granted)
	})
	if err != nil {
		return p, err
	}
	p.answered = time.Now()
	b.mu.Lock()
	b.throttled = throttled
	b.mu.Unlock()
	if granted {
		p.grant = pipeline.Grant{At: now, Rate: rate}
	} else {
		wait = min(wait-ahead.Seconds(), waitMost.Seconds())
	}
	p.wait, p.held = seconds(wait), seconds(held)
	if p.held > clockSet {
		err = b.followClock(ctx)
	}
	return p, err
}

// clockSet is how far ahead of the database's clock the row is only if the clock has been set back, or another server
// with a clock of its own has taken over: no statement waits so long for the row.
const clockSet = 2 * timeout

// followClock sets the row's times back as far as the clock was: nothing would run out of the bucket until the clock has
// come up to them.
func (b *Shared) followClock(ctx context.Context) error {
	return b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := b.pool.Exec(ctx, `
			update bulksub.budgets b set version = version + 1, level_at = b.level_at - by, ceiling_at = ceiling_at - by, paced_at = paced_at - by,
				changed_at = changed_at - by, cut_at = cut_at - by, hold_until = hold_until - by
			from (select greatest(level_at, changed_at) - clock_timestamp() as by from bulksub.budgets where project = $1 for update) as ahead
			where project = $1 and by > $2::interval`, b.project, clockSet)
		return err
	})
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// change changes what the service has brought the rate down to; what was in the bucket has run out
// at the old rate until then, and after a cut a call waits as if one had just gone. now is the database's
// time, ceiling the highest of late, and shared what all processes have sent in
// the last second; decide reports whether there is anything to change. settled is false if
// another process was faster: no lock is held while this one thinks, for it may be frozen
// meanwhile.
func (b *Shared) change(ctx context.Context, decide func(t *pipeline.Throttle, now time.Time, ceiling, shared float64) bool) (settled bool, err error) {
	err = b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		var t pipeline.Throttle
		var now time.Time
		var version int64
		var ceiling, shared float64
		err := b.pool.QueryRow(ctx, `
			select rate, rate_before, changed_at, cut_at, hold_until, version, ceiling, clock_timestamp(),
				case when clock_timestamp() > paced_at + interval '2 s' then 0
				else greatest(pace, paced / greatest(extract(epoch from clock_timestamp() - paced_at), 0.5)) end
			from bulksub.budgets where project = $1`, b.project).
			Scan(&t.Rate, &t.Before, &t.Changed, &t.Cut, &t.Hold, &version, &ceiling, &now, &shared)
		if err != nil {
			return err
		}
		if settled = !decide(&t, now, ceiling, shared); settled {
			return nil
		}
		tag, err := b.pool.Exec(ctx, `
			update bulksub.budgets b set level = greatest(content, case when $7 > b.cut_at then $9 else 0 end), level_at = now,
				rate = $4, rate_before = $5, changed_at = $6, cut_at = $7, hold_until = $8, version = b.version + 1
			from (`+leak+`) as bucket where b.project = bucket.project and bucket.version = $3`,
			b.project, b.own.Ceiling(), version, t.Rate, t.Before, t.Changed, t.Cut, t.Hold, b.most())
		settled = tag.RowsAffected() > 0
		return err
	})
	return settled, err
}
