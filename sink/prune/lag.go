package prune

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lagPoll is how often a prune that waits for a standby looks again.
const lagPoll = time.Second

// keepPace waits while a standby is further behind than Lag. It says so with the first
// wait, and ends with an error if another process has taken over the end of the job.
func (p *Pruner) keepPace(ctx context.Context) error {
	for p.Lag > 0 {
		behind, err := p.behind(ctx)
		if err != nil {
			return fmt.Errorf("look how far standbys are behind: %w", err)
		}
		if behind <= p.Lag {
			return nil
		}
		if !p.waited && p.OnWait != nil {
			p.OnWait(behind)
		}
		p.waited = true
		select {
		case <-time.After(lagPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// behind is how many bytes of the log the slowest standby has yet to replay. replay_lag
// would not do: it stands still while replay is paused. A subscriber (logical replication) is no
// standby: it may be far behind for good while nothing is written to its own database.
func (p *Pruner) behind(ctx context.Context) (bytes int64, err error) {
	err = p.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0)::bigint from pg_stat_replication r
			where not exists (select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')`).Scan(&bytes)
	})
	return bytes, err
}
