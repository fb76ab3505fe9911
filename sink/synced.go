package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
)

// synced are the topics under sync for the service that the job calls.
type synced struct {
	topics map[string]struct{}
	many   bool // more than mostSynced: topics has not all of them
}

// mostSynced is how many topics are kept in memory.
const mostSynced = 10_000

// has reports whether the topic may be under sync.
func (s *synced) has(topic string) bool {
	if s == nil {
		return false
	}
	_, known := s.topics[topic]
	return known || s.many
}

// lookForSyncs finds out which topics are under sync. It waits for a sync that is about to bring topics
// under sync: either this process announces its calls from then on, or the sync finds it at work, see
// newcomers.
func (b *believer) lookForSyncs(ctx context.Context) error {
	err := b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		var topics []string
		var ask pgx.Batch
		ask.Queue(`select pg_advisory_xact_lock_shared($1)`, membership)
		ask.Queue(`select array(select distinct topic from bulksub.synced where service = $1 limit $2)`, b.caller.service, mostSynced+1).
			QueryRow(func(row pgx.Row) error { return row.Scan(&topics) })
		if err := postgres.TransactAsking(ctx, b.pool, &ask, func(pgx.Tx) error { return nil }); err != nil {
			return err
		}
		s := &synced{topics: make(map[string]struct{}), many: len(topics) > mostSynced}
		for _, topic := range topics {
			s.topics[topic] = struct{}{}
		}
		b.synced.Store(s)
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for topics under sync: %w", err)
	}
	return nil
}
