package postgres

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestTransactAsking: the questions are answered before anything is done, and what is done is there together or not at all.
func TestTransactAsking(t *testing.T) {
	t.Parallel()
	ours := errors.New("ours")
	for name, test := range map[string]struct {
		question string
		then     string // what is done besides
		err      error
		called   bool
		rows     int
		fails    bool
	}{
		"done":                      {question: `select 7`, then: `select 1`, called: true, rows: 1},
		"the question fails":        {question: `select 1/0`, fails: true},
		"what is done fails":        {question: `select 7`, then: `select 1/0`, err: ours, called: true, fails: true},
		"what fails is passed over": {question: `select 7`, then: `select 1/0`, called: true, fails: true},
		"it is given up":            {question: `select 7`, then: `select 1`, err: ours, called: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			pool := database(t, `create table things (n int)`,
				`do $$ begin execute format('alter database %I set default_transaction_isolation = serializable', current_database()); end $$`)
			pool.Reset()
			var answer int
			var timeout, isolation string
			var questions pgx.Batch
			questions.Queue(test.question).QueryRow(func(row pgx.Row) error { return row.Scan(&answer) })
			called := false
			err := TransactAsking(t.Context(), pool, &questions, func(tx pgx.Tx) error {
				called = true
				if answer != 7 {
					t.Errorf("the answer is %d", answer)
				}
				if err := tx.QueryRow(t.Context(), `show transaction_isolation`).Scan(&isolation); err != nil || isolation != "read committed" {
					t.Errorf("the isolation is %s, %v", isolation, err)
				}
				if err := tx.QueryRow(t.Context(), `show idle_in_transaction_session_timeout`).Scan(&timeout); err != nil || timeout != "15s" {
					t.Errorf("a client may be silent for %s, %v", timeout, err)
				}
				exec(t, tx, `insert into things values (1)`)
				tx.Exec(t.Context(), test.then) // its error is test.err, or passed over
				return test.err
			})
			if called != test.called || (err != nil) != test.fails || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("called %t, %v", called, err)
			}
			var rows int
			if err := pool.QueryRow(t.Context(), `select count(*) from things`).Scan(&rows); err != nil || rows != test.rows {
				t.Errorf("%d rows, %v", rows, err)
			}
			if err := pool.QueryRow(t.Context(), `show idle_in_transaction_session_timeout`).Scan(&timeout); err != nil || timeout != "0" {
				t.Errorf("after it, a client may be silent for %s, %v", timeout, err)
			}
		})
	}
}
