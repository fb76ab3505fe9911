package trial

import (
	"context"
	_ "embed"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed watch.sql
var watchSQL string

// Watch has the database note, from now on and by triggers on the ledger's tables, what a look at the end cannot find:
// how many results each transaction has written (I4), results that have changed or gone (I5), and results that were
// written by another process than the last one that took their segment (I15).
func Watch(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), watchSQL); err != nil {
		t.Fatal(err)
	}
}

// Violations are what the triggers of [Watch] have found.
func Violations(ctx context.Context, pool *pgxpool.Pool) (found []string, err error) {
	err = pool.QueryRow(ctx, `select coalesce(array_agg(distinct what), '{}') from trial.violations`).Scan(&found)
	return found, err
}

// unevenCommits counts the transactions that have written another number of results than whole batches of that size.
func unevenCommits(ctx context.Context, pool *pgxpool.Pool, batch int) (uneven int64, err error) {
	err = pool.QueryRow(ctx, `
		select count(*) from (select sum(rows) as size from trial.writes group by transaction) as w where size % $1 <> 0`, batch).Scan(&uneven)
	return uneven, err
}
