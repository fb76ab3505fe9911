package sink

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// Complete ends a job that has no last work.
func (p *Postgres) Complete(ctx context.Context) error {
	_, err := p.End(ctx, says(`"nothing"`))
	return err
}

// says is last work with an outcome and nothing else.
func says(outcome string) func(context.Context, Ending) (json.RawMessage, error) {
	return func(context.Context, Ending) (json.RawMessage, error) { return json.RawMessage(outcome), nil }
}

func fenced(ctx context.Context, db *pgxpool.Pool, e Ending) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return e.Fence(ctx, tx) })
}

// atItsEnd are two processes whose job has one thing left.
func atItsEnd(t *testing.T, db *pgxpool.Pool) (a, b *Postgres) {
	a, b = newPostgres(t, db, "job"), newPostgres(t, db, "job")
	work(t, a, 2, nil)
	return a, b
}

func wantEnd(t *testing.T, p *Postgres, work func(context.Context, Ending) (json.RawMessage, error), want string) {
	t.Helper()
	got, err := p.End(t.Context(), work)
	if err != nil || string(got) != want {
		t.Errorf("ended with %s, %v; want %s", got, err, want)
	}
}

// TestEndIsWorkedOnce: one process works, the other waits and tells the same.
func TestEndIsWorkedOnce(t *testing.T) {
	t.Parallel()
	a, b := atItsEnd(t, pgtest.New(t))
	waited := make(chan struct{})
	wantEnd(t, a, func(ctx context.Context, e Ending) (json.RawMessage, error) {
		go func() {
			defer close(waited)
			wantEnd(t, b, says(`"b"`), `"a"`)
		}()
		if now, err := b.lookAtEnd(ctx, b.pool); err != nil || now.free || now.over {
			t.Errorf("the other process finds %+v, %v", now, err)
		}
		return json.RawMessage(`"a"`), fenced(ctx, a.pool, e)
	}, `"a"`)
	<-waited
}

// TestEndIsCountedOnce: a job whose last commit had no answer has ended once.
func TestEndIsCountedOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	c, through := pgtest.NewCutter(t, db)
	p, _ := atItsEnd(t, through)
	wantEnd(t, p, func(context.Context, Ending) (json.RawMessage, error) {
		c.Arm(pgtest.CutAfter)
		return json.RawMessage(`"once"`), nil
	}, `"once"`)
	if c.Armed() || ask[string](t, db, `select outcome || ' ' || ended from bulksub.jobs`) != `"once" 1` {
		t.Errorf("armed %v; %s", c.Armed(), ask[string](t, db, `select outcome || ' ' || ended from bulksub.jobs`))
	}
}

// TestLongLastWorkKeepsItsLease: the lease on the end is renewed while a transaction of the
// last work holds it, and the only connection, and nobody else takes it.
func TestLongLastWorkKeepsItsLease(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	narrow, err := postgres.Connect(t.Context(), db.Config().ConnString(), 1)
	must(t, err)
	t.Cleanup(narrow.Close)
	_, b := atItsEnd(t, db)
	a := newPostgres(t, narrow, "job")
	wantEnd(t, a, func(ctx context.Context, e Ending) (json.RawMessage, error) {
		mustExec(t, db, expire+` where number = 0`)
		postgres.Allow(narrow, 1)
		must(t, pgx.BeginFunc(ctx, narrow, func(tx pgx.Tx) error {
			must(t, e.Fence(ctx, tx))
			if claim, err := b.claimEnd(ctx); claim != nil || err != nil {
				t.Errorf("another process takes it: %v, %v", claim, err)
			}
			a.renew(ctx)
			if ask[bool](t, db, `select lease_end < clock_timestamp() from bulksub.segments where number = 0`) {
				t.Error("the lease was not renewed")
			}
			return nil
		}))
		return json.RawMessage(`"a"`), nil
	}, `"a"`)
}

// TestFenceWaitsForATakeover: one that comes while another process is taking the end over is
// let in by nobody (P9).
func TestFenceWaitsForATakeover(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	zombie, heir := atItsEnd(t, db)
	claim, err := zombie.claimEnd(t.Context())
	must(t, err)
	mustExec(t, db, expire+` where number = 0`)
	taking, err := db.Begin(t.Context())
	must(t, err)
	_, _, _, err = heir.take(t.Context(), taking, true)
	must(t, err)
	let := make(chan error, 1)
	go func() {
		let <- pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error { return zombie.fencedEnd(t.Context(), tx, claim) })
	}()
	for len(let) == 0 && !ask[bool](t, db, `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`) {
	}
	must(t, taking.Commit(t.Context()))
	if err := <-let; !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("the fence lets the zombie in: %v", err)
	}
}

// TestEndIsTakenOver: a process that slept through its lease on the end writes nothing
// more, and tells what the other one says (P9).
func TestEndIsTakenOver(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	zombie, heir := atItsEnd(t, db)
	var lost []int
	zombie.OnLoss(func(segment int) { lost = append(lost, segment) })
	wantEnd(t, zombie, func(ctx context.Context, e Ending) (json.RawMessage, error) {
		mustExec(t, db, expire+` where number = 0`)
		wantEnd(t, heir, says(`"heir"`), `"heir"`)
		if err := fenced(ctx, db, e); err == nil || e.Lease.Held() {
			t.Errorf("the fence lets the zombie in: %v", err)
		}
		return json.RawMessage(`"zombie"`), nil
	}, `"heir"`)
	if len(lost) != 1 || lost[0] != 0 {
		t.Errorf("told of %v", lost)
	}
	if got := ask[string](t, db, `select state || ended || outcome from bulksub.jobs`); got != `done1"heir"` {
		t.Errorf("the job is %s", got)
	}
}

// TestRenewedEnd: a renewal that came upon the end just as it was kept finds it in
// nobody's hands, and does not call it lost.
func TestRenewedEnd(t *testing.T) {
	t.Parallel()
	a, b := atItsEnd(t, pgtest.New(t))
	end, err := a.claimEnd(t.Context())
	must(t, err)
	mustExec(t, a.pool, `update bulksub.segments set owner = null where number = 0`)
	if a.renew(t.Context()); end.Lease.Lost() {
		t.Error("lost though nobody has taken it")
	}
	_, err = b.claimEnd(t.Context())
	must(t, err)
	if a.renew(t.Context()); !end.Lease.Lost() {
		t.Error("not lost to the process that has taken it")
	}
}

// TestFenceOfAPlan: what it does not let in drops no plan (P9).
func TestFenceOfAPlan(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "sync")
	stage(t, p, wish(t, db, "a", some("a", 1, 13)))
	work(t, p, 1, nil)
	shut := func(context.Context, pgx.Tx) error { return pgx.ErrNoRows }
	if err := p.DropPlan(t.Context(), shut); !errors.Is(err, pgx.ErrNoRows) || ask[int](t, db, `select count(*) from bulksub.planned`) != 13 {
		t.Errorf("dropped with %v", err)
	}
}

// TestEndIsLeftToOthers by a process whose work fails, and by one that has died.
func TestEndIsLeftToOthers(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := atItsEnd(t, db)
	failed := errors.New("no")
	if _, err := a.End(t.Context(), func(context.Context, Ending) (json.RawMessage, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("ended with %v", err)
	}
	must(t, a.Close())
	if ask[string](t, db, `select state from bulksub.jobs`) != StateOpen {
		t.Error("the job is closed though its last work was not done")
	}
	const hold = `update bulksub.segments set owner = 'other', process = $1, lease_end = clock_timestamp() + interval '1 hour' where number = 0`
	mustExec(t, db, hold, liveness.Here())
	if now, err := b.lookAtEnd(t.Context(), db); err != nil || now.free {
		t.Errorf("free of a process that lives: %+v, %v", now, err)
	}
	mustExec(t, db, hold, deadProcess(t))
	wantEnd(t, b, says(`"b"`), `"b"`)
}

// TestEndOfADoneJob: its work is done again by those that came since, once.
func TestEndOfADoneJob(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, _ := atItsEnd(t, db)
	must(t, a.Complete(t.Context()))
	b, c := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	if !b.Job().Done {
		t.Fatal("the job is not done")
	}
	finished := ask[string](t, db, `select finished_at::text from bulksub.jobs`)
	wantEnd(t, b, says(`"again"`), `"again"`)
	wantEnd(t, c, says(`"thrice"`), `"again"`)
	if got := ask[string](t, db, `select finished_at::text from bulksub.jobs where state = 'done' and ended = 2`); got != finished {
		t.Errorf("finished at %s, and then at %s", finished, got)
	}
}

// TestEndThatIsNotReached: while a segment is open, and when somebody has cancelled the job.
func TestEndThatIsNotReached(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	claim(t, a, 1)
	if err := b.Complete(t.Context()); !errors.Is(err, pipeline.ErrHeldElsewhere) {
		t.Errorf("ended while the plan is open: %v", err)
	}
	must(t, a.Close())
	work(t, b, 1, nil)
	_, err := b.End(t.Context(), func(ctx context.Context, _ Ending) (json.RawMessage, error) {
		cancelled, err := Cancel(ctx, db, b.job)
		toldJob(t, cancelled, err)
		return json.RawMessage(`"b"`), nil
	})
	var shut *ClosedError
	if !errors.As(err, &shut) {
		t.Errorf("ended with %v", err)
	}
}
