package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bulksub/bulksub/pipeline"
)

// Announce puts in doubt the subscriptions that a call is about to change, if its topic is
// under sync, until the results are recorded: a sync that comes after a kill sends just
// those again. For other topics it asks the database nothing. It compares no fence: what a
// process announces and then does not send, since its lease is lost, may be sent once more
// by the next sync.
func (b *believer) Announce(ctx context.Context, a pipeline.Action, tokens []string) error {
	if !onTopic(a) || !b.synced.Load().has(a.Topic) {
		return nil
	}
	b.underway.begin(a.Topic, tokens) // before others can see it
	said := b.gathering.say(a.Topic, allStorable(tokens), func(said *announcement) { b.announce(ctx, said) })
	if !said.synced[a.Topic] {
		b.underway.end(a.Topic, tokens)
	}
	if said.err != nil {
		return fmt.Errorf("note %d tokens that are to be sent: %w", len(tokens), said.err)
	}
	return nil
}

func (b *believer) announce(ctx context.Context, said *announcement) {
	said.err = b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		var notes pgx.Batch
		for _, topic := range slices.Sorted(maps.Keys(said.tokens)) { // or two processes would wait for each other
			notes.Queue(announce, topic, said.tokens[topic], b.caller.number, b.caller.job, b.caller.doubtFor, b.caller.owner, b.caller.service).Exec(func(tag pgconn.CommandTag) error {
				said.synced[topic] = tag.RowsAffected() > 0
				return nil
			})
		}
		return b.pool.SendBatch(ctx, &notes).Close()
	})
}

// announce is the statement of an announcement. Tokens that differ only in what cannot be stored are one. If
// somebody else's doubt is there already, earlier keeps it, since nobody knows whose call reaches the service last: it
// outlives our call. If it is over, earlier is -infinity, and an answer to our call ends it.
const announce = `
	insert into bulksub.subscriptions as s (topic, token, job_id, since, doubted, caller)
	select $1, token, $4, '-infinity', clock_timestamp() + $5::interval, $3 from (select distinct unnest($2::text[]) as token) as now
	where exists (select from bulksub.synced where topic = $1 and service = $7)
	order by hashtextextended(token, 0)
	on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
	do update set doubted = greatest(s.doubted, excluded.doubted), caller = excluded.caller, job_id = excluded.job_id,
		earlier = case when not (` + others + `) then s.earlier when ` + lasts + ` then s.doubted else '-infinity' end`

// lasts is the condition that a doubt is not over: a call may still be carried out, or the job that made it is at work.
const lasts = `s.doubted > clock_timestamp() or exists (
			select from bulksub.segments g
			where g.job_id = s.job_id and not g.done and g.owner is not null and g.owner <> $6 and g.lease_end > clock_timestamp()
		)`

// Ended notes that a call has ended. What a call that lingers would change stays in doubt, whatever the next
// call for it is answered: this one may be carried out later.
func (b *believer) Ended(ctx context.Context, a pipeline.Action, tokens []string, lingers bool) error {
	if !onTopic(a) {
		return nil
	}
	defer b.underway.end(a.Topic, tokens) // a call that lingers counts as under way until its doubt is stored
	if !lingers {
		return nil
	}
	ctx, cancel := outlive(ctx, commitTimeout)
	defer cancel()
	err := b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		var notes pgx.Batch
		notes.Queue(linger, b.caller.job, b.caller.doubtFor)
		if b.synced.Load().has(a.Topic) {
			notes.Queue(doubt, a.Topic, allStorable(tokens), b.caller.doubtFor, b.caller.service)
		}
		return b.pool.SendBatch(ctx, &notes).Close()
	})
	if err != nil {
		return fmt.Errorf("note that the call with %d tokens had no answer: %w", len(tokens), err)
	}
	return nil
}

// outlive makes a context that ends so much later than ctx.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return late, func() {
		stop()
		cancel()
	}
}

// doubt is the statement for what a call that lingers may change.
const doubt = `
	insert into bulksub.subscriptions as s (topic, token, job_id, since, doubted, caller)
	select $1, token, 0, '-infinity', clock_timestamp() + $3::interval, 0 from (select distinct unnest($2::text[]) as token) as now
	where exists (select from bulksub.synced where topic = $1 and service = $4)
	order by hashtextextended(token, 0)
	on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
	do update set doubted = greatest(s.doubted, excluded.doubted), caller = 0, earlier = null`

// linger is the statement for a job with calls that nobody will hear the end of.
const linger = `update bulksub.jobs set lingers = greatest(lingers, clock_timestamp() + $2::interval) where id = $1`

func allStorable(tokens []string) []string {
	stored := make([]string, len(tokens))
	for i, token := range tokens {
		stored[i] = storable(token)
	}
	return stored
}
