package sink

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

// TestZombie: a process that slept through its lease writes nothing (P9).
func TestZombie(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	zombie, heir := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	lost, kept := claim(t, zombie, 2), claim(t, zombie, 2)
	must(t, zombie.Record(t.Context(), results(lost)[:1]))
	mustExec(t, db, expire+` where number = 1`)
	taken := claim(t, heir, 2)
	if taken.Segment != lost.Segment || !taken.Recorded("11") || taken.Recorded("12") {
		t.Fatalf("taken over: %+v", taken)
	}
	must(t, zombie.Record(t.Context(), append(results(lost)[1:], results(kept)...)))
	if got := recordedKeys(t, db); !slices.Equal(got, []string{"11", "21", "22", "23"}) {
		t.Errorf("rows %v", got)
	}
	if !lost.Lease.Lost() || lost.Lease.Held() || kept.Lease.Lost() {
		t.Errorf("lost %t, kept %t", lost.Lease.Lost(), !kept.Lease.Lost())
	}
	must(t, zombie.Finish(t.Context(), lost))
	if ask[bool](t, db, `select done from bulksub.segments where number = 1`) {
		t.Error("the zombie has finished the heir's segment")
	}
	must(t, heir.Record(t.Context(), results(taken)[1:]))
	must(t, heir.Finish(t.Context(), taken))
	must(t, zombie.Finish(t.Context(), kept))
	wantCounts(t, heir, pipeline.Counts{pipeline.OK: 6})
}

func TestZombieLosesByFinish(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	zombie, heir := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	lost := claim(t, zombie, 1)
	mustExec(t, db, expire)
	claim(t, heir, 1)
	must(t, zombie.Finish(t.Context(), lost))
	if !lost.Lease.Lost() || ask[bool](t, db, `select done from bulksub.segments`) {
		t.Errorf("lost %t", lost.Lease.Lost())
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p, other := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	kept, lost, done := claim(t, p, 3), claim(t, p, 3), claim(t, p, 3)
	mustExec(t, db, expire)
	if c := claim(t, other, 3); c.Segment != kept.Segment {
		t.Fatalf("took %+v", c)
	}
	kept, lost = lost, kept
	mustExec(t, db, `update bulksub.segments set done = true, owner = null where number = 3`)
	kept.Lease.Extend(time.Now().Add(-time.Hour))
	p.renew(t.Context())
	if !kept.Lease.Held() || !lost.Lease.Lost() || done.Lease.Lost() {
		t.Errorf("kept %t, lost %t, finished one lost %t", kept.Lease.Held(), lost.Lease.Lost(), done.Lease.Lost())
	}
	if !ask[bool](t, db, `select lease_end > clock_timestamp() + interval '5 seconds' from bulksub.segments where number = 2`) {
		t.Error("the lease in the ledger was not moved")
	}
	if _, ok := p.held.all()[lost.Segment.Number]; ok {
		t.Error("the lost segment is still in hand")
	}
}

func TestCloseGivesBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	first, second := claim(t, a, 3), claim(t, b, 3)
	must(t, a.Close())
	must(t, a.Close())
	if got := ask[string](t, db, `select string_agg(number || ' ' || coalesce(owner, '-'), ', ' order by number) from bulksub.segments`); got != "1 -, 2 "+b.owner {
		t.Errorf("owners: %s", got)
	}
	if c := claim(t, b, 3); c.Segment != first.Segment || second.Lease.Lost() {
		t.Errorf("claimed %+v", c)
	}
}

// TestWaitingIsCheap: a process that waits for another asks one question at a time.
func TestWaitingIsCheap(t *testing.T) {
	t.Parallel()
	db, asked := pgtest.New(t), new(pgtest.Queries)
	claim(t, newPostgres(t, db, "job"), 1)
	config := db.Config()
	config.ConnConfig.Tracer = asked
	traced, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	defer traced.Close()
	idle := newPostgres(t, traced, "job")
	for i := range 4 {
		before := asked.Load()
		if _, err := idle.Claim(t.Context(), plan(t, 1)); !errors.Is(err, pipeline.ErrHeldElsewhere) {
			t.Fatal(err)
		}
		if n := asked.Load() - before; i > 0 && n != 1 {
			t.Errorf("%d statements", n)
		}
	}
}

// tardy holds the answers to questions for a lease up.
type tardy struct{ by time.Duration }

type asksForALease struct{}

func (tardy) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, asksForALease{}, strings.Contains(data.SQL, "clock_timestamp() + $"))
}

func (t tardy) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if ctx.Value(asksForALease{}) == true {
		<-time.After(t.by)
	}
}

// TestLeaseRunsFromTheQuestion: a lease of which the answer has told after its time is over by then, however it was
// come by. The database has counted since it was asked.
func TestLeaseRunsFromTheQuestion(t *testing.T) {
	t.Parallel()
	const short = 300 * time.Millisecond
	db := pgtest.New(t)
	config := db.Config()
	config.ConnConfig.Tracer = tardy{by: short}
	traced, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	defer traced.Close()
	p := newPostgres(t, traced, "job")
	p.stopRenewing()
	p.lease = short
	over := func(how string, c *pipeline.Claim) {
		if c.Lease.Held() || c.Lease.Lost() {
			t.Errorf("%s: held %t, lost %t", how, c.Lease.Held(), c.Lease.Lost())
		}
	}
	cut := claim(t, p, 1)
	over("cut", cut)
	const end = `select lease_end from bulksub.segments`
	before := ask[time.Time](t, db, end)
	if p.renew(t.Context()); !ask[time.Time](t, db, end).After(before) {
		t.Error("it was not renewed")
	}
	over("renewed", cut)
	must(t, p.Close())
	p.held.release(cut)
	taken := claim(t, p, 1)
	over("taken", taken)
	must(t, p.Record(t.Context(), results(taken)))
	must(t, p.Finish(t.Context(), taken))
	_, err = p.Claim(t.Context(), plan(t, 1))
	if !errors.Is(err, pipeline.ErrNothingLeft) {
		t.Fatal(err)
	}
	last, err := p.claimEnd(t.Context())
	must(t, err)
	over("the end", last)
}
