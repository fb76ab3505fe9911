package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// lockID is the advisory lock that serializes migrations: "bulksub" in ASCII. It differs from goose's default, which
	// an application in the same database may hold for its own migrations.
	lockID = 0x62756c6b737562

	lockPoll = 100 * time.Millisecond

	// sessionSettings hold for the migrating session alone. A step gives up rather than queue behind a long transaction,
	// because everything that came after it would queue behind the step; its own work may take its time.
	sessionSettings = "set lock_timeout = '10s'; set statement_timeout = 0"
)

// openLocked returns a database of exactly one session, which owns the migration lock from its first moment to its last.
//
// goose has a locker of its own, but looks for pending migrations, and creates its version table, before it asks for
// the lock; with this session there is no such before.
func openLocked(cfg *pgxpool.Config) *sql.DB {
	options := []stdlib.OptionOpenDB{stdlib.OptionAfterConnect(prepare)}
	if cfg.BeforeConnect != nil {
		options = append(options, stdlib.OptionBeforeConnect(cfg.BeforeConnect))
	}
	db := stdlib.OpenDB(*cfg.ConnConfig, options...)
	db.SetMaxOpenConns(1)
	return db
}

// prepare closes conn if it fails, as its caller does not.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	err := acquireLock(ctx, conn)
	if err == nil {
		_, err = conn.Exec(ctx, sessionSettings)
	}
	if err != nil {
		return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return nil
}

// acquireLock polls, because a session that blocks in pg_advisory_lock holds a snapshot, and a migration that creates an
// index concurrently waits for every snapshot: each would wait for the other.
func acquireLock(ctx context.Context, conn *pgx.Conn) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		var locked bool
		if err := conn.QueryRow(ctx, `select pg_try_advisory_lock($1)`, lockID).Scan(&locked); err != nil {
			return fmt.Errorf("ask for the migration lock: %w", err)
		}
		if locked {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another process that migrates: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
