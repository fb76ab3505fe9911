package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The states of a job in the ledger.
const (
	StateOpen      = "open"
	StateDone      = "done"      // every row has a result
	StateCancelled = "cancelled" // somebody has ended it
	StateOvertaken = "overtaken" // a sync that was cut short, after which another was planned
	StatePurging   = "purging"   // it is being deleted
)

// ClosedError is a job that is not to be worked on any more, though it may have rows
// left.
type ClosedError struct{ Job, State string }

func (e *ClosedError) Error() string {
	switch e.State {
	case StateOvertaken:
		return fmt.Sprintf("job %s was cut short, and a newer sync has computed a difference since; run the sync again, and not this job of it", e.Job)
	case StatePurging:
		return fmt.Sprintf("job %s is being purged; choose another name, or wait until bulksub jobs purge has ended", e.Job)
	}
	return fmt.Sprintf("job %s was cancelled; what is recorded stays. To continue it: bulksub jobs continue %s, and run it again", e.Job, e.Job)
}

func closed(job, state string) error {
	switch state {
	case StateCancelled, StateOvertaken, StatePurging:
		return &ClosedError{Job: job, State: state}
	}
	return nil
}

// Pause lets an open job's processes begin no call until [Continue]. They keep their
// segments and obey within seconds, see [Steering]. It reports whether the job is
// open.
func Pause(ctx context.Context, pool *pgxpool.Pool, j Job) (bool, error) {
	return tell(ctx, pool, `update bulksub.jobs set paused = true where id = $1 and state = 'open'`, j)
}

// Continue takes a pause back, and opens a cancelled job again. It reports whether
// the job was open or cancelled.
func Continue(ctx context.Context, pool *pgxpool.Pool, j Job) (bool, error) {
	return tell(ctx, pool, `
		update bulksub.jobs set paused = false, state = 'open', finished_at = null
		where id = $1 and state in ('open', 'cancelled')`, j)
}

// Cancel ends an open job: its processes finish the calls in flight and record them,
// and it is not run again until [Continue]. It reports whether the job was open, or
// cancelled already.
func Cancel(ctx context.Context, pool *pgxpool.Pool, j Job) (bool, error) {
	return tell(ctx, pool, `
		update bulksub.jobs set paused = false, state = 'cancelled', finished_at = coalesce(finished_at, clock_timestamp())
		where id = $1 and state in ('open', 'cancelled')`, j)
}

// SetRate sets the rate of the job's processes, those that run and those to come: token
// operations per second, 0 meaning no ceiling; nil leaves it to each again.
func SetRate(ctx context.Context, pool *pgxpool.Pool, j Job, rate *float64) error {
	_, err := tell(ctx, pool, `update bulksub.jobs set rate = $2 where id = $1`, j, rate)
	return err
}

func tell(ctx context.Context, pool *pgxpool.Pool, sql string, j Job, args ...any) (bool, error) {
	tag, err := pool.Exec(ctx, sql, append([]any{j.ID}, args...)...)
	if err != nil {
		return false, fmt.Errorf("tell job %s: %w", j.Name, err)
	}
	return tag.RowsAffected() == 1, nil
}
