package trial

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// Case is a job that has come to its end, whatever was done to it on the way: the tokens 1 to Rows, subscribed to Topic,
// with the results in a database on which there was a [Watch]. What is zero is not judged.
type Case struct {
	Program *Program
	DB      *pgxpool.Pool
	Job     string
	Topic   string
	Rows    int
	Mix     iidtest.Mix
	// Batch is the size of every batch, for a mix that the first answer judges and a number of rows that it
	// divides: each commit is whole batches.
	Batch int
	// Calls is how many calls there may have been at most.
	Calls int
	// Ops is how many token operations any second may have seen.
	Ops int
	// Peak is how large a process may have become, in KiB.
	Peak int64
	// Files is how many files a process may have had open, its connections included.
	Files int64
}

// Judge compares what is left with the invariants I1 to I15, as far as they can be seen from outside: I3 follows from I2
// where the faults lie in what they do not deliver; I8 and I9 are [Pruned]'s; I11 is the limit on each run. code and last
// are what the last run ended with.
func (c Case) Judge(t testing.TB, code int, last Summary) {
	t.Helper()
	ctx := context.Background()
	results, err := SQLLines(c.DB, c.Job)
	must(t, err)
	if diff := Disagreement(c.Program.Service, c.Mix, c.Topic, results, c.Rows); diff != "" { // I1, I2, I7
		t.Error(diff)
	}
	found, err := Violations(ctx, c.DB) // I5, I15
	must(t, err)
	for _, what := range found {
		t.Error(what)
	}
	if c.Batch > 0 { // I4
		uneven, err := unevenCommits(ctx, c.DB, c.Batch)
		must(t, err)
		if uneven > 0 {
			t.Errorf("%d commits hold a part of a batch of %d", uneven, c.Batch)
		}
	}
	c.judgeService(t)
	c.judgeWords(t, code, last)
	c.judgeTables(t)
}

// judgeService is I6 and I10, and I14 of the processes.
func (c Case) judgeService(t testing.TB) {
	t.Helper()
	calls := 0
	for _, call := range c.Program.Service.Calls() {
		if call.Endpoint != "token" {
			calls++
		}
	}
	if c.Calls > 0 && calls > c.Calls {
		t.Errorf("%d calls, want at most %d", calls, c.Calls)
	}
	if most := c.Program.Service.PeakOps(time.Second); c.Ops > 0 && most > c.Ops {
		t.Errorf("%d token operations within a second, want at most %d", most, c.Ops)
	}
	if peak := c.Program.Peak.Load(); c.Peak > 0 && peak > c.Peak {
		t.Errorf("a process became %d KiB large, want at most %d", peak, c.Peak)
	}
	if files := c.Program.Files.Load(); c.Files > 0 && files > c.Files {
		t.Errorf("a process had %d files open, want at most %d", files, c.Files)
	}
}

// judgeWords is I12: what the last run has said is what the tables hold.
func (c Case) judgeWords(t testing.TB, code int, last Summary) {
	t.Helper()
	rows, _ := c.DB.Query(context.Background(), `select status, count(*) from bulksub.results where job = $1 group by status`, c.Job)
	counts := make(map[string]int64)
	var status string
	var n int64
	_, err := pgx.ForEachRow(rows, []any{&status, &n}, func() error {
		counts[status] = n
		return nil
	})
	must(t, err)
	if !maps.Equal(counts, last.counts()) || last.Rows != int64(c.Rows) {
		t.Errorf("the summary says %v of %d rows, the table %v of %d", last.counts(), last.Rows, counts, c.Rows)
	}
	want, state := 0, "done"
	if counts["failed"] > 0 {
		want, state = 3, "incomplete"
	}
	if code != want || last.State != state {
		t.Errorf("the last run ended with %d, %s, want %d, %s", code, last.State, want, state)
	}
}

// holdTokens are the tables that are there to hold them.
var holdTokens = map[string]bool{"records": true, "pruned": true, "tokens": true, "subscriptions": true, "planned": true}

// judgeTables is I13 in the database.
func (c Case) judgeTables(t testing.TB) {
	t.Helper()
	rows, _ := c.DB.Query(context.Background(), `select relname from pg_class where relnamespace = 'bulksub'::regnamespace and relkind = 'r'`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	for _, table := range tables {
		forbidden := secret.String()
		if !holdTokens[table] {
			forbidden += "|" + wholeToken.String()
		}
		var leaks int
		err := c.DB.QueryRow(context.Background(), fmt.Sprintf(`select count(*) from bulksub.%s as t where t::text ~ $1`, pgx.Identifier{table}.Sanitize()), forbidden).Scan(&leaks)
		must(t, err)
		if leaks > 0 {
			t.Errorf("%d rows of bulksub.%s hold a secret or a whole token", leaks, table)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
