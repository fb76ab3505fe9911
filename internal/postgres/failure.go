package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// passing lists the SQLSTATE classes and codes of errors that may be gone at the
// next try (PostgreSQL documentation, appendix A).
var passing = []string{
	"08",    // connection exceptions
	"53",    // out of disk, memory, connections
	"57P",   // shutdown, crash, cannot connect now
	"58",    // trouble with its disk or its system
	"25P03", // a transaction that stayed idle too long: we were frozen
	"40",    // serialization failure, deadlock
	"55P03", // lock timeout
	"57014", // statement timeout
	"25006", // read-only: a primary that was demoted
}

// Passes reports whether the error may be gone at the next try on a new
// connection: everything that the server did not say, and what it says of its own
// state rather than of the statement.
func Passes(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, pgx.ErrNoRows) {
		return false
	}
	if _, flaw := errors.AsType[*RelationError](err); flaw {
		return false
	}
	answer, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return true
	}
	return slices.ContainsFunc(passing, func(prefix string) bool {
		return len(answer.Code) >= len(prefix) && answer.Code[:len(prefix)] == prefix
	})
}

// Code is the SQLSTATE of an error, or "" if the server did not say it.
func Code(err error) string {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return answer.Code
	}
	return ""
}

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
)

// Retrier repeats what failed for a passing reason, at growing distances.
type Retrier struct {
	Patience time.Duration // from the first failure to giving up
	Timeout  time.Duration // of one try: a connection may be a black hole
}

// Do calls try until it succeeds, fails for good, or patience or ctx ends, and
// returns its last error. first is false from the second call on: what the one
// before did is then unknown.
func (r Retrier) Do(ctx context.Context, try func(ctx context.Context, first bool) error) error {
	var failed time.Time
	wait := retryFirst
	for first := true; ; first = false {
		err := r.once(ctx, first, try)
		if first {
			failed = time.Now()
		}
		if err == nil || ctx.Err() != nil || !Passes(err) || time.Since(failed) >= r.Patience {
			return err
		}
		tellWait(ctx, failed, err)
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return err
		}
		wait = min(2*wait, retryMost)
	}
}

func (r Retrier) once(ctx context.Context, first bool, try func(context.Context, bool) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return try(ctx, first)
}
