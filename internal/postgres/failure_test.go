package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func answer(code string) error { return &pgconn.PgError{Code: code} }

func TestPasses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{io.ErrUnexpectedEOF, true},
		{errors.New("dial unix: connect: no such file or directory"), true},
		{context.DeadlineExceeded, true},
		{fmt.Errorf("the try: %w", context.Canceled), false},
		{pgx.ErrNoRows, false},
		{&RelationError{Err: io.EOF}, false},
		{&RelationError{Err: answer("57P01")}, false},
		{answer("08006"), true},  // connection failure
		{answer("53300"), true},  // too many connections
		{answer("53100"), true},  // disk full
		{answer("57P01"), true},  // admin shutdown
		{answer("57P03"), true},  // cannot connect now
		{answer("57014"), true},  // statement timeout
		{answer("57000"), false}, // operator intervention, unspecified
		{answer("40001"), true},  // serialization failure
		{answer("40P01"), true},  // deadlock
		{answer("55P03"), true},  // lock timeout
		{answer("55000"), false}, // not in prerequisite state
		{answer("25006"), true},  // read-only
		{answer("25P02"), false}, // transaction aborted
		{answer("25P03"), true},  // idle in a transaction for too long
		{answer("58030"), true},  // input/output error
		{answer("42P01"), false}, // no such table
		{answer("42501"), false}, // no right
		{answer("28P01"), false}, // wrong password
		{answer("3D000"), false}, // no such database
		{answer("23505"), false}, // duplicate key
		{answer("22P02"), false}, // not a number
		{answer(""), false},
		{fmt.Errorf("record: %w", answer("08006")), true},
	} {
		if got := Passes(c.err); got != c.want {
			t.Errorf("Passes(%v) = %t, want %t", c.err, got, c.want)
		}
	}
}

func TestCode(t *testing.T) {
	if got := Code(fmt.Errorf("x: %w", answer("42P01"))); got != "42P01" {
		t.Errorf("Code = %q", got)
	}
	if got := Code(io.EOF); got != "" {
		t.Errorf("Code of what the server did not say = %q", got)
	}
}

func TestRetrierWaitsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		err := Retrier{Patience: time.Minute, Timeout: time.Second}.Do(t.Context(), func(_ context.Context, first bool) error {
			if first != (len(tries) == 0) {
				t.Errorf("try %d: first = %t", len(tries)+1, first)
			}
			tries = append(tries, time.Now())
			return io.EOF
		})
		if err != io.EOF {
			t.Errorf("error %v, want the last try's", err)
		}
		most := retryFirst
		for i := 1; i < len(tries); i++ {
			if distance := tries[i].Sub(tries[i-1]); distance < most/2 || distance > most {
				t.Errorf("try %d came after %v, want %v to %v", i+1, distance, most/2, most)
			}
			most = min(2*most, retryMost)
		}
		if spent := tries[len(tries)-1].Sub(tries[0]); spent < time.Minute || spent > time.Minute+retryMost {
			t.Errorf("gave up after %v, want a minute", spent)
		}
	})
}

// Patience is reckoned from the first failure: a try that ran into its timeout
// has not used it up.
func TestRetrierRepeatsWhatRanIntoItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		err := Retrier{Patience: time.Minute, Timeout: 5 * time.Minute}.Do(t.Context(), func(ctx context.Context, first bool) error {
			if tries++; !first {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err != nil || tries != 2 {
			t.Errorf("%d tries, %v; want a second one that succeeds", tries, err)
		}
	})
}

func TestRetrierGivesUpAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		patience time.Duration
		err      error
	}{
		"no patience":        {0, io.EOF},
		"an error for good":  {time.Hour, answer("42501")},
		"a relation's flaw":  {time.Hour, &RelationError{}},
		"no rows":            {time.Hour, pgx.ErrNoRows},
		"nothing went wrong": {time.Hour, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				err := Retrier{Patience: c.patience, Timeout: time.Second}.Do(t.Context(), func(context.Context, bool) error {
					tries++
					return c.err
				})
				if err != c.err || tries != 1 {
					t.Errorf("%d tries, error %v; want one and %v", tries, err, c.err)
				}
			})
		})
	}
}

func TestRetrierEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		err := Retrier{Patience: time.Hour, Timeout: time.Minute}.Do(ctx, func(context.Context, bool) error { return io.EOF })
		if err != io.EOF || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v, want the last error when the context ended", err, time.Since(began))
		}
	})
}
