package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

var _ pipeline.Herald = (*Postgres)(nil)

// Announce puts in doubt what a call is about to change of a topic under sync, until
// its results are recorded: a sync that comes after a kill sends just that again.
// While no topic is under sync it asks the database nothing. It compares no fence: what a
// process announces and then does not send, for its lease is lost, may be sent once more
// by the next sync.
func (p *Postgres) Announce(ctx context.Context, a pipeline.Action, tokens []string) error {
	if !onTopic(a) || !p.someSynced.Load() {
		return nil
	}
	stored := make([]string, len(tokens))
	for i, token := range tokens {
		stored[i] = storable(token)
	}
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.pool.Exec(ctx, announce, a.Topic, stored, p.job.ID, lingers)
		return err
	})
	if err != nil {
		return fmt.Errorf("note %d tokens that are to be sent: %w", len(tokens), err)
	}
	return nil
}

// lingers is for how long after it was begun a call may still be carried out, though the
// process that made it may be dead: twice what --timeout allows a call by default.
const lingers = 2 * time.Minute

// Of tokens that are kept as one text one is enough. Where another job's call may still be
// on its way, which is contested, nobody has announced it.
const announce = `
	insert into bulksub.subscriptions as s (topic, token, job_id, since, doubted)
	select $1, token, $3, '-infinity', clock_timestamp() from (select distinct unnest($2::text[]) as token) as now
	where exists (select from bulksub.synced where topic = $1)
	order by hashtextextended(token, 0)
	on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
	do update set doubted = excluded.doubted, job_id = case
		when ` + others + ` and (s.doubted > excluded.doubted - $4::interval or exists (
			select from bulksub.segments g
			where g.job_id = s.job_id and not g.done and g.owner is not null and g.lease_end > clock_timestamp()
		)) then 0
		else excluded.job_id end`

// lookForSyncs finds out whether any topic is under sync. It waits for a sync that is about to
// take its topics, so that either we announce our calls or it finds us at work, see newcomers.
func (p *Postgres) lookForSyncs(ctx context.Context) error {
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		var some bool
		var ask pgx.Batch
		ask.Queue(`select pg_advisory_xact_lock_shared($1)`, membership)
		ask.Queue(`select exists (select from bulksub.synced)`).QueryRow(func(row pgx.Row) error { return row.Scan(&some) })
		err := p.pool.SendBatch(ctx, &ask).Close()
		if err == nil {
			p.someSynced.Store(some)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look for topics under sync: %w", err)
	}
	return nil
}
