package budget

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// Shared is the budget of a project in the hands of one process, for all its workers at once.
type Shared struct {
	pool    *pgxpool.Pool
	project string
	own     *pipeline.Limiter
	retry   postgres.Retrier
	turn    chan struct{} // in the hands of the one that waits; the others queue for it
	lot     lot           // with the turn
	nearest time.Duration // the database is, there and back

	mu        sync.Mutex
	pace      pipeline.Pace
	largest   int       // the most operations asked for at once
	throttled bool      // the service had brought the rate down when we last asked
	calm      time.Time // when the database was last told that all is calm
	met       time.Time // when we last met a quota
}

var _ pipeline.Budget = (*Shared)(nil)

const (
	// ahead is how far ahead of its time a call's place is taken. What is further
	// off is not promised: the rate may change until then.
	ahead = 250 * time.Millisecond
	// trusted is how long a process without a ceiling goes on before it tells the
	// others what it has sent, and hears whether one has met a quota.
	trusted = 100 * time.Millisecond
	// lotTime is how much time's worth of small calls is taken at once.
	lotTime = 50 * time.Millisecond
	// mostLot bounds the operations of a lot at rates beyond reason.
	mostLot = 10_000
	// mostLate is how late a call may go on a busy machine, however near the next one is.
	mostLate = 50 * time.Millisecond
	// waitMost is how long to wait before asking again for a place.
	waitMost = time.Second
	// forgotten is how old a quota is when a new process pays it no heed.
	forgotten = 10 * time.Minute
	// slowest is how long a batch waits at the lowest rate that a quota leads to.
	slowest = time.Minute
	// timeout is for one statement, which touches one row.
	timeout = 5 * time.Second
)

// Open opens the budget of a project; own is the limiter of this process, and
// nobody else's. A database that goes away is waited for as long as patience says.
func Open(ctx context.Context, pool *pgxpool.Pool, project string, own *pipeline.Limiter, patience time.Duration) (*Shared, error) {
	b := &Shared{
		pool:    pool,
		project: project,
		own:     own,
		retry:   postgres.Retrier{Patience: patience, Timeout: timeout},
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
func (b *Shared) Wait(ctx context.Context, n int) (pipeline.Grant, error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return pipeline.Grant{}, ctx.Err()
	}
	if _, err := b.own.Wait(ctx, n); err != nil {
		return pipeline.Grant{}, err
	}
	b.note(n)
	for {
		g, at, err := b.place(ctx, n)
		if err != nil {
			return pipeline.Grant{}, b.explain(err)
		}
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return pipeline.Grant{}, ctx.Err()
		}
		if !g.At.IsZero() && !b.overtaken() && !crowds(time.Since(at)+b.lot.lag, n, g.Rate) {
			return g, nil
		}
	}
}

// crowds reports whether a call of n operations that goes so late, since this process was
// held up, comes too near to those that go after it. Its place is given up then.
func crowds(late time.Duration, n int, rate float64) bool {
	apart := float64(n) / rate
	return !math.IsInf(rate, 1) && late > mostLate && late.Seconds() > apart/2
}

func (b *Shared) note(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.Add(time.Now(), n)
	b.largest = max(b.largest, n)
}

// overtaken reports whether this process has met a quota since it asked for the lot, which then
// counts no more.
func (b *Shared) overtaken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.met.After(b.lot.asked)
}

// lot is what was taken at once and not yet used up.
type lot struct {
	asked time.Time // when the database was asked for it
	grant pipeline.Grant
	size  int           // operations in a call
	calls int           // that are left
	next  time.Time     // the time of the first of them
	step  time.Duration // between two of them
	lag   time.Duration // by which they may be later than the database has them: its answer took so long
	until time.Time     // without a ceiling: any number of calls until then
	spent int           // without a ceiling: operations that the others do not know of
}

// place is when a call of n operations may go, from the lot or from the database.
// Without a grant there is no place yet, and that is when to ask again.
func (b *Shared) place(ctx context.Context, n int) (pipeline.Grant, time.Time, error) {
	now, overtaken := time.Now(), b.overtaken()
	if now.Before(b.lot.until) && !overtaken {
		b.lot.spent += n
		return b.lot.grant, now, nil
	}
	b.lot.giveUp(now)
	if b.lot.calls == 0 || b.lot.size != n || overtaken {
		if err := b.refill(ctx, n); err != nil || b.lot.calls == 0 {
			return pipeline.Grant{}, b.lot.next, err
		}
	}
	at := b.lot.next
	b.lot.calls--
	b.lot.next = at.Add(b.lot.step)
	return b.lot.grant, at, nil
}

// giveUp leaves out the places that were missed by more than [pipeline.Slack]. Used
// all the same, they would be a burst on top of what other processes send.
func (l *lot) giveUp(now time.Time) {
	for l.calls > 0 && now.Sub(l.next) > pipeline.Slack {
		l.calls--
		l.next = l.next.Add(l.step)
	}
}

// refill takes the next lot: as many calls as the rate allows in a short time, and
// one at least. Calls that may be late have places that are further apart.
func (b *Shared) refill(ctx context.Context, n int) error {
	calls, room := 1, float64(n)
	if rate := min(b.lot.grant.Rate, b.own.Ceiling()); !math.IsInf(rate, 1) {
		calls = max(1, int(min(rate*lotTime.Seconds(), mostLot))/n)
	}
	if calls > 1 {
		room *= 1 + pipeline.Slack.Seconds()
	}
	before := b.lot
	b.lot = lot{size: n, grant: before.grant}
	p, err := b.take(ctx, int(math.Ceil(float64(calls)*room)), before.spent)
	switch g := p.grant; {
	case err != nil:
		return err
	case g.At.IsZero():
		b.lot.next, b.lot.spent = p.asked.Add(p.wait), before.spent
	case math.IsInf(g.Rate, 1):
		b.lot = lot{asked: p.asked, size: n, grant: g, calls: 1, next: p.asked, until: p.asked.Add(trusted)}
	default:
		b.lot = lot{asked: p.asked, size: n, grant: g, calls: calls, next: p.answered.Add(p.wait), step: time.Duration(room / g.Rate * float64(time.Second))}
		b.lot.lag = b.later(p.answered.Sub(p.asked) - p.held)
		if b.lot.next.Before(before.next) && g.Rate == before.grant.Rate {
			b.lot.next = before.next // the answer came faster than the one before
		}
	}
	return nil
}

// later is by how much the way to the database and back has taken longer than the nearest
// so far: an answer was late by that at most. To a process that was frozen meanwhile, the time of its
// place is long past. If the way becomes longer for good, nearest follows within some answers. A
// negative time was measured while the database's clock was being set, and counts as none.
func (b *Shared) later(took time.Duration) (late time.Duration) {
	took = max(took, 0)
	if b.nearest == 0 || took < b.nearest {
		b.nearest = took
	}
	late = took - b.nearest
	b.nearest += late / 10
	return late
}

// Answered slows all processes down, or lets them step up again. Calm is told once
// a second at most.
func (b *Shared) Answered(ctx context.Context, g pipeline.Grant, q pipeline.Quota) error {
	if !q.Met && !b.tellCalm() {
		return nil
	}
	if q.Met {
		b.meet()       // what was taken does not count
		defer b.meet() // nor what is taken until the others know
	}
	largest := b.most()
	pace := max(b.sent(), largest)
	for {
		settled, err := b.change(ctx, func(t *pipeline.Throttle, now time.Time, ceiling, shared float64) bool {
			if !q.Met {
				return t.Calm(now, g.At, ceiling)
			}
			t.Rate = min(t.Rate, ceiling)
			t.Met(now, g.At, q.After, max(pace, shared), largest/slowest.Seconds())
			return true
		})
		if err != nil || settled {
			return b.explain(err)
		}
	}
}

// most is the most operations asked for at once.
func (b *Shared) most() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return float64(b.largest)
}

// sent is what this process has sent in a second of late.
func (b *Shared) sent() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pace.Rate(time.Now())
}

func (b *Shared) meet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.met = time.Now()
}

// tellCalm reports whether a reply that met no quota is worth a word: the service has
// brought the rate down, and the last word is a while ago.
func (b *Shared) tellCalm() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.throttled || time.Since(b.calm) < time.Second {
		return false
	}
	b.calm = time.Now()
	return true
}

func (b *Shared) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("take from the budget of %s: %w", b.project, err)
}
