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

// Announce puts the subscriptions that a call is about to change in doubt, if its topic is under sync,
// until the results are recorded. If the process is killed, the next sync sends just those again. For
// other topics it asks the database nothing. It compares no fence: a call that is announced and then not
// made, since the lease is lost, costs the next sync a call at most.
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
			announced.queue(&notes, b.caller.announcement(topic, said.tokens[topic])).Exec(func(tag pgconn.CommandTag) error {
				said.synced[topic] = tag.RowsAffected() > 0
				return nil
			})
		}
		return b.pool.SendBatch(ctx, &notes).Close()
	})
}

// Ended notes that a call has ended. If the call lingers, what it would change stays in doubt, whatever
// the answer to the next call is: the service may carry this one out after that.
func (b *believer) Ended(ctx context.Context, a pipeline.Action, tokens []string, lingers bool) error {
	if !onTopic(a) {
		return nil
	}
	defer b.underway.end(a.Topic, tokens) // not before the doubt is stored: the process may be killed in between
	if !lingers {
		return nil
	}
	ctx, cancel := outlive(ctx, commitTimeout)
	defer cancel()
	err := b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		var notes pgx.Batch
		unheard.queue(&notes, b.caller.unheard())
		if b.synced.Load().has(a.Topic) {
			unanswered.queue(&notes, pgx.NamedArgs{
				"topic": a.Topic, "tokens": allStorable(tokens), "service": b.caller.service, "doubt_for": b.caller.doubtFor})
		}
		return b.pool.SendBatch(ctx, &notes).Close()
	})
	if err != nil {
		return fmt.Errorf("note that the call with %d tokens had no answer: %w", len(tokens), err)
	}
	return nil
}

// outlive makes a context that ends some time after ctx does.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return late, func() {
		stop()
		cancel()
	}
}

func allStorable(tokens []string) []string {
	stored := make([]string, len(tokens))
	for i, token := range tokens {
		stored[i] = storable(token)
	}
	return stored
}
