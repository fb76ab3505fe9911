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
	"github.com/sourcegraph/conc/pool"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// TestManyProcesses lets eight sinks carry one job.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var sinks []*Postgres
	for range 8 {
		sinks = append(sinks, newPostgres(t, db, "job"))
	}
	const segments = 40
	processes := pool.New().WithErrors().WithContext(t.Context())
	for _, p := range sinks {
		processes.Go(func(ctx context.Context) error {
			for {
				c, err := p.Claim(ctx, plan(t, segments))
				switch {
				case errors.Is(err, pipeline.ErrNothingLeft):
					return p.Complete(ctx)
				case errors.Is(err, pipeline.ErrHeldElsewhere):
					continue
				case err != nil:
					return err
				}
				if err := errors.Join(p.Record(ctx, results(c)), p.Finish(ctx, c)); err != nil {
					return err
				}
			}
		})
	}
	must(t, processes.Wait())
	wantCounts(t, sinks[0], pipeline.Counts{pipeline.OK: 3 * segments})
	if n := ask[int](t, db, `select count(*) from bulksub.rows`); n != 3*segments {
		t.Errorf("%d rows", n)
	}
	if got := ask[string](t, db, `select count(*) || ' ' || min(fence) || ' ' || max(fence) from bulksub.segments where done`); got != "40 1 1" {
		t.Errorf("segments done, fences: %s", got)
	}
	if ask[string](t, db, `select state from bulksub.jobs`) != "done" {
		t.Error("the job is not done")
	}
}

func TestLastSegmentHeldElsewhere(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	held := claim(t, a, 1)
	for range 2 {
		if c, err := b.Claim(t.Context(), plan(t, 1)); !errors.Is(err, pipeline.ErrHeldElsewhere) {
			t.Errorf("claimed %+v, %v", c, err)
		}
	}
	if _, err := a.Claim(t.Context(), plan(t, 1)); !errors.Is(err, pipeline.ErrNothingLeft) {
		t.Errorf("the holder itself: %v", err)
	}
	if err := b.Complete(t.Context()); !errors.Is(err, pipeline.ErrHeldElsewhere) {
		t.Errorf("completed while a segment is open: %v", err)
	}
	if newPostgres(t, db, "job").Job().Done {
		t.Error("done while a segment is open")
	}
	must(t, a.Close())
	if c := claim(t, b, 1); c.Fence != held.Fence+1 || c.Segment != held.Segment {
		t.Errorf("after the other has closed: %+v", c)
	}
}

// TestFreeSegmentThatIsLocked is what a process leaves that was stopped in
// mid-commit for longer than its lease.
func TestFreeSegmentThatIsLocked(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	claim(t, a, 1)
	mustExec(t, db, expire)
	must(t, pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
		mustExec(t, tx, `select from bulksub.segments for update`)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if c, err := b.Claim(ctx, func(context.Context, pipeline.Segment) (pipeline.Segment, bool, error) {
			return pipeline.Segment{}, false, nil
		}); !errors.Is(err, pipeline.ErrHeldElsewhere) {
			t.Errorf("claimed %+v, %v", c, err)
		}
		return nil
	}))
}

// TestStoppedTransactionIsEvicted: a process that was stopped in mid-commit long ago loses its
// session, and with it the lock on the segment and what it has not committed. One that
// is just taking over what was lost long ago keeps its own.
func TestStoppedTransactionIsEvicted(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	a, b := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	lost := claim(t, a, 1)
	mustExec(t, db, `update bulksub.segments set lease_end = clock_timestamp() - interval '1 hour'`)
	tx, err := db.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(t.Context())
	var questions pgx.Batch
	a.lockSegments(&questions, results(lost), new(postgres.Backend))
	must(t, tx.SendBatch(t.Context(), &questions).Close())
	must(t, a.records.copyIn(t.Context(), tx, a.job.ID, results(lost)))
	if _, err := b.Claim(t.Context(), plan(t, 1)); !errors.Is(err, pipeline.ErrHeldElsewhere) {
		t.Fatal(err)
	}
	_, err = tx.Exec(t.Context(), `select 1`)
	must(t, err)
	b.retry.Timeout = 0 // as if that had passed
	b.evict(t.Context())
	b.retry.Timeout = commitTimeout
	if _, err := tx.Exec(t.Context(), `select 1`); err == nil {
		t.Error("a transaction that is older than any has its session yet")
	}
	c, err := b.Claim(t.Context(), plan(t, 1))
	for errors.Is(err, pipeline.ErrHeldElsewhere) { // while that session is ending
		c, err = b.Claim(t.Context(), plan(t, 1))
	}
	must(t, err)
	if c.Recorded("11") {
		t.Error("a row is recorded that was not committed")
	}
}

// atQuery does something before each statement of a connection.
type atQuery func(sql string)

func (f atQuery) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	f(data.SQL)
	return ctx
}

func (atQuery) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestOddKeysAreRecorded: whatever a key holds, its row is known to have a result, and no other row is.
func TestOddKeysAreRecorded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	before := newPostgres(t, db, "job")
	c := claim(t, before, 1)
	kept, left := []string{"1", "a\x1eb", "", "\x1e", "2"}, []string{"a", "b", "a\ufffdb", "1\x1e2", "3"}
	var all []pipeline.Result
	for _, key := range kept {
		r := result(c, key, pipeline.OK)
		r.Token = "token"
		all = append(all, r)
	}
	must(t, before.Record(t.Context(), all))
	must(t, before.Close())
	again := claim(t, newPostgres(t, db, "job"), 1)
	for _, key := range kept {
		if !again.Recorded(key) {
			t.Errorf("%q has no result", key)
		}
	}
	for _, key := range left {
		if again.Recorded(key) {
			t.Errorf("%q has a result", key)
		}
	}
}

// TestSilentReaderHoldsNothing: from a process that falls silent while it reads what is recorded of
// its segment others can take it over, and it writes no more.
func TestSilentReaderHoldsNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	before, next := newPostgres(t, db, "job"), newPostgres(t, db, "job")
	must(t, before.Record(t.Context(), results(claim(t, before, 1))[:1]))
	must(t, before.Close())
	var over *pipeline.Claim
	config := db.Config()
	config.ConnConfig.Tracer = atQuery(func(sql string) {
		if !strings.Contains(sql, "select keys") || over != nil {
			return
		}
		if ask[int](t, db, `select count(*) from (select from bulksub.segments for update skip locked) as free`) == 0 {
			t.Fatal("it keeps the segment locked")
		}
		mustExec(t, db, expire)
		over = claim(t, next, 1)
	})
	own, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(own.Close)
	silent := newPostgres(t, own, "job")
	late := claim(t, silent, 1)
	if over == nil || over.Segment != late.Segment || over.Fence != late.Fence+1 || !over.Recorded("11") || over.Recorded("12") {
		t.Fatalf("taken over %+v from %+v", over, late)
	}
	must(t, silent.Record(t.Context(), results(late)[1:]))
	if !late.Lease.Lost() {
		t.Error("what was too late was taken")
	}
	must(t, next.Record(t.Context(), results(over)[1:]))
	if got := recordedKeys(t, db); !slices.Equal(got, []string{"11", "12", "13"}) {
		t.Errorf("recorded %v", got)
	}
}

func TestOnlyDeadProcessesAreBuried(t *testing.T) {
	t.Parallel()
	const hold = `insert into bulksub.segments (job_id, number, bounds, owner, process, fence, lease_end)
		select id, 1, 'b1', 'other', $1, 4, clock_timestamp() + interval '1 hour' from bulksub.jobs`
	for name, test := range map[string]struct {
		process any
		dead    bool
	}{
		"dead": {deadProcess(t), true}, "alive": {liveness.Here(), false}, "of another machine": {"elsewhere 1@1", false}, "unknown": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.New(t)
			p := newPostgres(t, db, "job")
			mustExec(t, db, hold, test.process)
			c, err := p.Claim(t.Context(), plan(t, 1))
			if test.dead && (err != nil || c.Fence != 5) || !test.dead && !errors.Is(err, pipeline.ErrHeldElsewhere) {
				t.Errorf("claimed %+v, %v", c, err)
			}
		})
	}
}
