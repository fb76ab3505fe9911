package sink

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/pipeline"
)

var _ pipeline.Herald = (*Postgres)(nil)

// Announce puts in doubt what a call is about to change of a topic under sync, until
// its results are recorded: a sync that comes after a kill sends just that again.
// While no topic is under sync it asks the database nothing. It compares no fence: what a
// process announces and then does not send, for its lease is lost, may be sent once more
// by the next sync.
func (p *Postgres) Announce(ctx context.Context, a pipeline.Action, tokens []string) error {
	if !onTopic(a) || !p.care.some.Load() {
		return nil
	}
	stored := make([]string, len(tokens))
	for i, token := range tokens {
		stored[i] = storable(token)
	}
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.pool.Exec(ctx, announce, a.Topic, stored, p.job.ID, p.care.dead)
		return err
	})
	if err != nil {
		return fmt.Errorf("note %d tokens that are to be sent: %w", len(tokens), err)
	}
	return nil
}

// Of tokens that are kept as one text one is enough. Where a job at work has announced a
// call of the same, which is contested, nobody has.
const announce = `
	insert into bulksub.subscriptions as s (topic, token, job_id, since, doubted)
	select $1, token, $3, '-infinity', true from (select distinct unnest($2::text[]) as token) as now
	where exists (select from bulksub.synced where topic = $1)
	order by hashtextextended(token, 0)
	on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
	do update set doubted = true, job_id = case
		when ` + others + ` and exists (
			select from bulksub.segments g
			where g.job_id = s.job_id and not g.done and g.owner is not null and g.owner <> all($4) and g.lease_end > clock_timestamp()
		) then 0
		else excluded.job_id end
	where not s.doubted or s.job_id <> excluded.job_id`

// care is what a process knows of syncs.
type care struct {
	some atomic.Bool // some topic was under sync when we last looked
	dead []string    // owners of leases that have not ended, and who have
}

// lookForSyncs finds out whether any topic is under sync, and who of those that seem to be
// at work is dead: one that is killed later seems so until its lease ends, and what it has
// announced stays in doubt for longer than it must.
func (p *Postgres) lookForSyncs(ctx context.Context) error {
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		var some bool
		if err := p.pool.QueryRow(ctx, `select exists (select from bulksub.synced)`).Scan(&some); err != nil {
			return err
		}
		p.care.some.Store(some)
		p.care.dead = []string{}
		rows, _ := p.pool.Query(ctx, `
			select distinct owner, process from bulksub.segments
			where $1 and not done and owner is not null and process is not null and lease_end > clock_timestamp()`, some)
		var owner, process string
		_, err := pgx.ForEachRow(rows, []any{&owner, &process}, func() error {
			if liveness.Dead(process) {
				p.care.dead = append(p.care.dead, owner)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("look for topics under sync: %w", err)
	}
	return nil
}
