package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// begin has the server end a transaction whose client has said nothing for a quarter of a minute, unless the user, the database
// or the URL has a word of its own for that.
const begin = `begin; select set_config('idle_in_transaction_session_timeout', '15s', true)
	where current_setting('idle_in_transaction_session_timeout') = '0'`

// Transact runs f in a transaction, as [pgx.BeginFunc] does. One whose process is frozen, or whose connection leads
// nowhere any more, is ended by the server: others could else not take its work over, for the locks that it holds. The
// error of whoever wakes up in it passes.
func Transact(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: begin}, f)
}
