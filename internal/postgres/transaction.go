package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// settings have the server end a transaction whose client has said nothing for a quarter of a minute, unless the user, the
// database or the URL has a word of its own for that. In the middle of a COPY the server waits without end: there it finds out
// within half a minute that the client's machine is gone, if it was reached by TCP.
var settings = []string{
	`select set_config('tcp_keepalives_idle', '15', true), set_config('tcp_keepalives_interval', '5', true), set_config('tcp_keepalives_count', '3', true)`,
	`select set_config('idle_in_transaction_session_timeout', '15s', true) where current_setting('idle_in_transaction_session_timeout') = '0'`,
}

// Transact runs f in a transaction, as [pgx.BeginFunc] does. A statement behind a lock sees what was committed before the
// lock was granted, whatever level of isolation the user or the database prefers. A transaction whose process is frozen, or
// whose connection leads nowhere any more, is ended by the server: others could else not take its work over, for the locks
// that it holds. The error of whoever wakes up in it passes.
func Transact(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	return TransactAsking(ctx, pool, new(pgx.Batch), f)
}

// TransactAsking is [Transact] with questions to begin with: they go to the server together with the beginning, and are
// answered when f is called.
func TransactAsking(ctx context.Context, pool *pgxpool.Pool, questions *pgx.Batch, f func(pgx.Tx) error) error {
	var all pgx.Batch
	all.BeginTx(pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	for _, sql := range settings {
		all.Queue(sql)
	}
	all.QueuedQueries = append(all.QueuedQueries, questions.QueuedQueries...)
	answers := pool.SendBatch(ctx, &all)
	tx := answers.Tx()
	defer tx.Rollback(ctx) // after a commit, nothing
	if err := answers.Close(); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// Backend is the server's end of a transaction.
type Backend struct {
	PID   int32     // pg_backend_pid(), which a pooler does not change
	Began time.Time // now(), which tells it from another transaction of that process
}

// End ends the transaction if it is still open, with its session: a connection may lead nowhere, and its server wait in the
// middle of a COPY for what will never come.
func (b Backend) End(ctx context.Context, db Querier) error {
	rows, err := db.Query(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and xact_start = $2`, b.PID, b.Began)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	return err
}
