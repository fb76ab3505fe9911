package budget

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

// budgets opens the budget of one project for several processes.
func budgets(t *testing.T, pool *pgxpool.Pool, ceilings ...float64) (list []*Shared) {
	t.Helper()
	for _, ceiling := range ceilings {
		b, err := Open(t.Context(), pool, "p", pipeline.NewLimiter(ceiling), time.Second)
		must(t, err)
		list = append(list, b)
	}
	return list
}

// place is when a call of n operations may go, by the database's clock; there is
// none yet if ok is false.
func place(t *testing.T, b *Shared, n int) (g pipeline.Grant, at time.Time, ok bool) {
	t.Helper()
	p, err := b.take(t.Context(), n, 0)
	must(t, err)
	return p.grant, p.grant.At.Add(p.wait), !p.grant.At.IsZero()
}

// busy is a place of a process that uses up its rate, in a bucket that has run out since.
func busy(t *testing.T, pool *pgxpool.Pool, b *Shared) pipeline.Grant {
	t.Helper()
	g, _, _ := place(t, b, 4000)
	mustExec(t, pool, `update bulksub.budgets set level = 0`)
	return g
}

func answered(t *testing.T, b *Shared, g pipeline.Grant, q pipeline.Quota) {
	t.Helper()
	must(t, b.Answered(t.Context(), g, q))
}

// TestBudgetIsShared: P5, all processes together.
func TestBudgetIsShared(t *testing.T) {
	const rate, n = 20_000, 250
	var mu sync.Mutex
	var places []time.Time
	var all sync.WaitGroup
	for _, b := range budgets(t, pgtest.New(t), rate, rate, rate, rate) {
		all.Go(func() {
			for range 15 {
				_, at, ok := place(t, b, n)
				if mu.Lock(); ok {
					places = append(places, at)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(places) < 20 {
		t.Fatalf("%d places", len(places))
	}
	slices.SortFunc(places, time.Time.Compare)
	for i, at := range places[1:] {
		if apart := at.Sub(places[i]).Round(time.Microsecond); apart < 12500*time.Microsecond {
			t.Errorf("two batches of %d within %s", n, apart)
		}
	}
}

func TestBudgetWaits(t *testing.T) {
	db := pgtest.New(t)
	b := budgets(t, db, 100_000)[0]
	for range 5 {
		_, err := b.Wait(t.Context(), 5000)
		must(t, err)
		if !ask[bool](t, db, `select level_at + make_interval(secs => (level - 5000) / 100000) <= clock_timestamp() from bulksub.budgets`) {
			t.Error("a call goes before its time")
		}
	}
}

// TestQuotaSlowsAll: what one process meets, the others heed; and all calls that
// were in flight lead to one cut.
func TestQuotaSlowsAll(t *testing.T) {
	pool := pgtest.New(t)
	list := budgets(t, pool, 4000, 4000, 1000, 4000)
	first, second := busy(t, pool, list[0]), busy(t, pool, list[1])
	answered(t, list[0], first, pipeline.Quota{Met: true})
	answered(t, list[1], second, pipeline.Quota{Met: true})
	for i, want := range []float64{2000, 2000, 2000, 2000} {
		if g, _, _ := place(t, list[i], 10); g.Rate != want {
			t.Errorf("process %d has a rate of %v, want %v", i, g.Rate, want)
		}
	}
	late, _, _ := place(t, list[1], 10)
	answered(t, list[1], late, pipeline.Quota{Met: true, After: time.Hour})
	if _, at, ok := place(t, list[0], 10); ok {
		t.Errorf("a place at %v in an hour of silence", at)
	}
}

func TestCalmRaisesTheBudget(t *testing.T) {
	pool := pgtest.New(t)
	b := budgets(t, pool, 4000)[0]
	g := busy(t, pool, b)
	answered(t, b, g, pipeline.Quota{Met: true})
	mustExec(t, pool, `update bulksub.budgets set changed_at = changed_at - interval '5 s', cut_at = cut_at - interval '5 s'`)
	if g, _, _ = place(t, b, 10); g.Rate != 2000 {
		t.Fatalf("rate %v after the cut", g.Rate)
	}
	answered(t, b, g, pipeline.Quota{})
	if g, _, _ = place(t, b, 10); g.Rate < 3600 || g.Rate > 4000 {
		t.Errorf("rate %v after five seconds of calm", g.Rate)
	}
}

// TestNoCeiling: the database is not asked for each call, and still a quota that
// another process met is heeded.
func TestNoCeiling(t *testing.T) {
	pool := pgtest.New(t)
	list := budgets(t, pool, 0, 0)
	for range 100 {
		g, err := list[0].Wait(t.Context(), 1000)
		if must(t, err); !math.IsInf(g.Rate, 1) {
			t.Fatalf("rate %v", g.Rate)
		}
	}
	g, err := list[1].Wait(t.Context(), 1000)
	must(t, err)
	answered(t, list[1], g, pipeline.Quota{Met: true})
	list[0].lot.until = time.Time{} // a while later
	if g, err = list[0].Wait(t.Context(), 1); err != nil || g.Rate < 500 || math.IsInf(g.Rate, 1) {
		t.Errorf("rate %v, %v", g.Rate, err)
	}
}

// TestQuotaEndsFreedom: without a ceiling, what was sent before a quota was met is not waited for,
// and no call goes by the word of before.
func TestQuotaEndsFreedom(t *testing.T) {
	pool := pgtest.New(t)
	b := budgets(t, pool, 0)[0]
	var last pipeline.Grant
	for range 100 {
		g, err := b.Wait(t.Context(), 1000)
		must(t, err)
		last = g
	}
	b.lot.until = time.Now().Add(time.Hour) // the quota is met before the word is old
	answered(t, b, last, pipeline.Quota{Met: true})
	if level := ask[float64](t, pool, `select level from bulksub.budgets`); level != 1000 {
		t.Errorf("a call after the cut waits for %v operations", level)
	}
	g, err := b.Wait(t.Context(), 1000)
	if must(t, err); g.Rate < 500 || math.IsInf(g.Rate, 1) {
		t.Errorf("rate %v", g.Rate)
	}
	if level := ask[float64](t, pool, `select level from bulksub.budgets`); level > 1000*2 {
		t.Errorf("%v operations to be waited for", level)
	}
}

// TestSlowProcessHoldsNobodyUp: a process with a low ceiling keeps to it by itself,
// and what it has sent weighs no more in the bucket than what others send; nor does
// a ceiling outlive its process.
func TestSlowProcessHoldsNobodyUp(t *testing.T) {
	list := budgets(t, pgtest.New(t), 0.001, 4000)
	slow, fast := list[0], list[1]
	if g, _, ok := place(t, slow, 1000); !ok || g.Rate != 0.001 {
		t.Fatalf("rate %v, %v", g.Rate, ok)
	}
	if _, at, ok := place(t, fast, 1000); !ok || at.IsZero() {
		t.Fatal("a batch at a thousandth of an operation per second holds up others")
	}
	g, at, ok := place(t, slow, 1000)
	if wait := at.Sub(g.At).Round(time.Millisecond); ok || g.Rate != 0 || wait > time.Second {
		t.Errorf("place after %s at a rate of %v", wait, g.Rate)
	}
}

// TestSmallCallsAreTakenInLots: calls of one operation ask the database a few times,
// and go at places of their own.
func TestSmallCallsAreTakenInLots(t *testing.T) {
	db, asked := pgtest.New(t), new(pgtest.Queries)
	config := db.Config()
	config.ConnConfig.Tracer = asked
	traced, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	defer traced.Close()
	b := budgets(t, traced, 2000)[0]
	before := asked.Load()
	var last time.Time
	for range 501 {
		g, at, err := b.place(t.Context(), 1)
		must(t, err)
		if g.At.IsZero() {
			continue
		}
		if apart := at.Sub(last); !last.IsZero() && apart < 499*time.Microsecond {
			t.Fatalf("two calls %s apart at 2,000 a second", apart)
		}
		last = at
	}
	if n := asked.Load() - before; n > 20 {
		t.Errorf("%d statements for 501 calls", n)
	}
}

// lateAnswer holds the second answer to a question up for so long.
type lateAnswer struct {
	pgtest.Queries
	by time.Duration
}

func (l *lateAnswer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {
	if l.Load() == 2 {
		<-time.After(l.by)
	}
}

// TestPlaceInALateAnswer: who has heard of its place too late, for it was frozen, asks for
// another one.
func TestPlaceInALateAnswer(t *testing.T) {
	db, late := pgtest.New(t), &lateAnswer{by: 3 * mostLate}
	config := db.Config()
	config.ConnConfig.Tracer = late
	traced, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	defer traced.Close()
	b := budgets(t, traced, 20_000)[0]
	late.Store(0)
	for range 2 {
		_, err := b.Wait(t.Context(), 1000)
		must(t, err)
	}
	if n := late.Load(); n < 3 {
		t.Errorf("%d questions for two places", n)
	}
}

// TestFrozenProcessHoldsNobodyUp: one that stops between reading and writing what the
// service said holds no lock, and what it had in mind is not written.
func TestFrozenProcessHoldsNobodyUp(t *testing.T) {
	pool := pgtest.New(t)
	list := budgets(t, pool, 4000, 4000)
	frozen, awake := list[0], list[1]
	g := busy(t, pool, awake)
	changed, err := frozen.change(t.Context(), func(rate *pipeline.Throttle, now time.Time, _, _ float64) bool {
		answered(t, awake, g, pipeline.Quota{Met: true})
		rate.Rate = 1
		return true
	})
	must(t, err)
	if g, _, _ := place(t, awake, 10); changed || g.Rate != 2000 {
		t.Errorf("written %v, rate %v", changed, g.Rate)
	}
}

// TestCeilingEndsWithItsProcess: the rate of a process that has gone does not hold for
// those that come after it.
func TestCeilingEndsWithItsProcess(t *testing.T) {
	pool := pgtest.New(t)
	list := budgets(t, pool, 0, 1000)
	if g, _, ok := place(t, list[0], 1); !ok || !math.IsInf(g.Rate, 1) {
		t.Fatalf("rate %v, %v", g.Rate, ok)
	}
	mustExec(t, pool, `update bulksub.budgets set ceiling_at = ceiling_at - interval '2 s'`)
	if g, _, ok := place(t, list[1], 1); !ok || g.Rate != 1000 {
		t.Errorf("rate %v, %v", g.Rate, ok)
	}
}

// TestBudgetFollowsTheClock: when the database's clock has been set back by an hour, calls go on at the same rate, what the
// service has brought the rate down to holds on, and its next word is heeded.
func TestBudgetFollowsTheClock(t *testing.T) {
	pool := pgtest.New(t)
	b := budgets(t, pool, 4000)[0]
	answered(t, b, busy(t, pool, b), pipeline.Quota{Met: true})
	mustExec(t, pool, `
		update bulksub.budgets set level_at = level_at + interval '1 hour', ceiling_at = ceiling_at + interval '1 hour', paced_at = paced_at + interval '1 hour',
			changed_at = changed_at + interval '1 hour', cut_at = cut_at + interval '1 hour'`)
	place(t, b, 10)
	if !ask[bool](t, pool, `select greatest(level_at, ceiling_at, paced_at, changed_at, cut_at, hold_until) <= clock_timestamp() from bulksub.budgets`) {
		t.Error("the row is ahead of the clock")
	}
	g := busy(t, pool, b)
	if g.Rate != 2000 {
		t.Errorf("rate %v", g.Rate)
	}
	answered(t, b, g, pipeline.Quota{Met: true})
	if g, _, _ := place(t, b, 10); g.Rate != 1000 {
		t.Errorf("rate %v after another cut", g.Rate)
	}
}

// TestAnotherRate: a call that waits for a low rate goes at a high one, and what ran
// out of the bucket at the high one is not owed at the next.
func TestAnotherRate(t *testing.T) {
	b := budgets(t, pgtest.New(t), 1)[0]
	_, err := b.Wait(t.Context(), 1000)
	must(t, err)
	went := make(chan error, 1)
	go func() {
		_, err := b.Wait(t.Context(), 1000)
		went <- err
	}()
	b.own.SetRate(1_000_000)
	must(t, <-went)
	b.own.SetRate(100)
	mustExec(t, b.pool, `update bulksub.budgets set level_at = level_at - interval '1 min', ceiling_at = ceiling_at - interval '1 min'`)
	if g, _, ok := place(t, b, 1000); !ok || g.Rate != 100 {
		t.Errorf("a place at a rate of %v: %t", g.Rate, ok)
	}
}

// The bucket runs out at the lower rate two seconds after the last process has heard
// of it.
func TestALowerRateOfTwoProcesses(t *testing.T) {
	pool := pgtest.New(t)
	list := budgets(t, pool, 4000, 4000, 50)
	place(t, list[0], 10)
	for i, want := range []float64{4000, 100} {
		list[i].own.SetRate(100)
		mustExec(t, pool, `update bulksub.budgets set level_at = level_at - interval '2 s', ceiling_at = ceiling_at - interval '2 s'`)
		place(t, list[1], 10) // at first it has not heard of it
		if g, _, _ := place(t, list[2], 1); g.Rate != want {
			t.Errorf("after process %d the rate is %v, want %v", i, g.Rate, want)
		}
	}
}
