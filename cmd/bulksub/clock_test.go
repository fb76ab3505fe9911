package main

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// shiftClock sets the clock that statements read in a database, from the next connection on.
func shiftClock(t *testing.T, db *pgxpool.Pool, by string) {
	t.Helper()
	const clock = `create function clock.%[1]s() returns timestamptz language sql volatile as $$ select pg_catalog.%[1]s() + interval '%[2]s' $$`
	for _, sql := range []string{
		`create schema clock`,
		fmt.Sprintf(clock, "clock_timestamp", by),
		fmt.Sprintf(clock, "statement_timestamp", by),
		`do $$ begin execute format('alter database %I set search_path = clock, pg_catalog, public', current_database()); end $$`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClocksDisagree: processes whose clocks are a day behind the database's, or ahead of it, take nothing from each
// other, keep the rate together, and finish the job: all times that they share are the database's.
func TestClocksDisagree(t *testing.T) {
	t.Parallel()
	const rows, processes = 130_000, 2
	for _, by := range []string{"1 day", "-1 day"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			p, db := newProgram(t, scriptFate), pgtest.New(t)
			fillTable(t, db, rows)
			shiftClock(t, db, by)
			args := append(onUsers("subscribe", db), "--job", "it")
			p.begunAtRate(processes, args...)
			var held, taken int
			err := db.QueryRow(t.Context(), `
				select count(distinct owner), count(*) filter (where fence > 1) from bulksub.segments
				where abs(extract(epoch from lease_end - pg_catalog.clock_timestamp() - $1::interval)) < 3600`, by).Scan(&held, &taken)
			if err != nil || held != processes || taken > 0 {
				t.Errorf("%d processes have leases by the database's clock, and %d segments were taken over: %v", held, taken, err)
			}
			wantSame(t, exitFailedRows, <-p.beginAll(1, append(args, "--rate", "0")...))
			p.wantResults("news", place{results: func() ([]string, error) { return sqlLines(db, "it") }}, rows)
		})
	}
}
