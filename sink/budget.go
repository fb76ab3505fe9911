package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// Budget is the rate that all processes on one database share for a project (P5):
// each call's operations are taken from it in one statement ahead of the call, and a
// quota that one process meets slows all of them. Each process brings a ceiling
// of its own; none goes beyond that, whatever others are allowed.
type Budget struct {
	pool    *pgxpool.Pool
	project string
	ceiling float64 // token operations per second; +Inf: none
	retry   postgres.Retrier
	turn    chan struct{} // in the hands of the one that waits; the others queue for it

	mu      sync.Mutex
	largest int // the most operations asked for at once
	pace    pipeline.Pace
	asked   time.Time // when the database last said that there is no ceiling
	open    pipeline.Grant
	calm    time.Time // when the database was last told that all is calm
}

var _ pipeline.Budget = (*Budget)(nil)

const (
	// ahead is how far ahead of its time a call's place is taken. What is further
	// off is not promised: the rate may change until then.
	ahead = time.Second
	// trusted is how long a process without a ceiling goes on without asking
	// whether another has met a quota.
	trusted = time.Second
	// forgotten is how old a quota is when a new process pays it no heed.
	forgotten = 10 * time.Minute
	// slowest is how long a batch waits at the lowest rate that a quota leads to.
	slowest = time.Minute
)

// OpenBudget opens the budget of a project, with a ceiling of perSecond token
// operations for this process, 0 meaning none. A database that goes away is
// waited for as long as patience says.
func OpenBudget(ctx context.Context, pool *pgxpool.Pool, project string, perSecond float64, patience time.Duration) (*Budget, error) {
	if perSecond <= 0 {
		perSecond = math.Inf(1)
	}
	b := &Budget{
		pool:    pool,
		project: project,
		ceiling: perSecond,
		retry:   postgres.Retrier{Patience: patience, Timeout: commitTimeout},
		turn:    make(chan struct{}, 1),
	}
	err := b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := pool.Exec(ctx, `
			insert into bulksub.budgets as old (project) values ($1)
			on conflict (project) do update set rate = 'infinity' where old.changed_at < clock_timestamp() - $2::interval`, project, forgotten)
		return err
	})
	if err != nil {
		return nil, b.explain(err)
	}
	return b, nil
}

// Wait blocks until n token operations may be sent at once, or ctx ends. Callers
// in one process are served in the order in which they came.
func (b *Budget) Wait(ctx context.Context, n int) (pipeline.Grant, error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return pipeline.Grant{}, ctx.Err()
	}
	if g, ok := b.unlimited(n); ok {
		return g, nil
	}
	for {
		g, wait, err := b.take(ctx, n)
		if err != nil {
			return pipeline.Grant{}, b.explain(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return pipeline.Grant{}, ctx.Err()
		}
		if !g.At.IsZero() {
			b.granted(g, n)
			return g, nil
		}
	}
}

// unlimited grants what the database need not be asked about.
func (b *Budget) unlimited(n int) (pipeline.Grant, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := time.Since(b.asked)
	if since > trusted {
		return pipeline.Grant{}, false
	}
	b.pace.Add(time.Now(), n)
	b.largest = max(b.largest, n)
	return pipeline.Grant{At: b.open.At.Add(since), Rate: b.open.Rate}, true
}

func (b *Budget) granted(g pipeline.Grant, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.Add(time.Now(), n)
	b.largest = max(b.largest, n)
	if math.IsInf(g.Rate, 1) {
		b.asked, b.open = time.Now(), g
	}
}

// take takes the next place for n operations and says how long it is off. Without
// a grant there is none yet: ask again after the wait.
func (b *Budget) take(ctx context.Context, n int) (g pipeline.Grant, wait time.Duration, err error) {
	var at time.Time
	err = b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return b.pool.QueryRow(ctx, `
			update bulksub.budgets
			set free_at = greatest(free_at, hold_until, clock_timestamp()) + make_interval(secs => $2 / least(rate, $3))
			where project = $1 and greatest(free_at, hold_until) < clock_timestamp() + $4
			returning clock_timestamp(), least(rate, $3), free_at - make_interval(secs => $2 / least(rate, $3))`,
			b.project, float64(n), b.ceiling, ahead).Scan(&g.At, &g.Rate, &at)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return pipeline.Grant{}, ahead, nil
	}
	return g, at.Sub(g.At), err
}

// Answered slows all processes down, or lets them step up again. Calm is told once
// a second at most.
func (b *Budget) Answered(ctx context.Context, g pipeline.Grant, q pipeline.Quota) error {
	if !q.Met && !b.tellCalm(g) {
		return nil
	}
	b.mu.Lock()
	largest := float64(b.largest)
	pace := max(b.pace.Rate(time.Now()), largest)
	b.asked = time.Time{}
	b.mu.Unlock()
	err := b.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return b.change(ctx, func(t *pipeline.Throttle, now time.Time) {
			if q.Met {
				t.Rate = min(t.Rate, b.ceiling)
				t.Met(now, g.At, q.After, pace, largest/slowest.Seconds())
			} else {
				t.Calm(now, g.At, b.ceiling)
			}
		})
	})
	return b.explain(err)
}

// tellCalm reports whether a reply that met no quota is worth a word: the rate is
// below the ceiling, and the last word is a while ago.
func (b *Budget) tellCalm(g pipeline.Grant) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.Rate >= b.ceiling || time.Since(b.calm) < time.Second {
		return false
	}
	b.calm = time.Now()
	return true
}

// change changes what the service has brought the rate down to. now is the
// database's time.
func (b *Budget) change(ctx context.Context, change func(t *pipeline.Throttle, now time.Time)) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		var t pipeline.Throttle
		var now time.Time
		err := tx.QueryRow(ctx, `select rate, step, changed_at, cut_at, hold_until, clock_timestamp() from bulksub.budgets where project = $1 for update`,
			b.project).Scan(&t.Rate, &t.Step, &t.Changed, &t.Cut, &t.Hold, &now)
		if err != nil {
			return err
		}
		change(&t, now)
		_, err = tx.Exec(ctx, `update bulksub.budgets set rate = $2, step = $3, changed_at = $4, cut_at = $5, hold_until = $6 where project = $1`,
			b.project, t.Rate, t.Step, t.Changed, t.Cut, t.Hold)
		return err
	})
}

func (b *Budget) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("take from the budget of %s: %w", b.project, err)
}
