package sink

import (
	"context"
	"fmt"

	"github.com/bulksub/bulksub/pipeline"
)

var _ pipeline.Herald = (*Postgres)(nil)

// Announce puts in doubt what a call is about to change of a topic under sync, until
// its results are recorded: a sync that comes after a kill sends just that again.
// While no topic is under sync it asks the database nothing. It compares no fence: what a
// process announces and then does not send, for its lease is lost, may be sent once more
// by the next sync.
func (p *Postgres) Announce(ctx context.Context, a pipeline.Action, tokens []string) error {
	if !onTopic(a) || !p.caring.Load() {
		return nil
	}
	stored := make([]string, len(tokens))
	for i, token := range tokens {
		stored[i] = storable(token)
	}
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.pool.Exec(ctx, announce, a.Topic, stored, p.job.ID)
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
			where g.job_id = s.job_id and not g.done and g.owner is not null and g.lease_end > clock_timestamp()
		) then 0
		else excluded.job_id end
	where not s.doubted or s.job_id <> excluded.job_id`

// care finds out whether any topic is under sync.
func (p *Postgres) care(ctx context.Context) error {
	var some bool
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return p.pool.QueryRow(ctx, `select exists (select from bulksub.synced)`).Scan(&some)
	})
	if err != nil {
		return fmt.Errorf("look for topics under sync: %w", err)
	}
	p.caring.Store(some)
	return nil
}
