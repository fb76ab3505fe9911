package sink

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

// TestStageWaitsForCommits: a topic comes under sync only after the commits of results that do not know of it.
func TestStageWaitsForCommits(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	other := newPostgres(t, db, "other")
	c := claim(t, other, 1)
	tx, err := db.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(t.Context())
	r := result(c, "11", pipeline.OK)
	r.Done = []pipeline.Action{add("a")}
	must(t, other.believe(t.Context(), tx, []pipeline.Result{r}))
	p, s := newPostgres(t, db, "job"), wish(t, db, "a", some("a", 1, 5))
	staged := pool.New().WithErrors()
	staged.Go(func() error { _, err := p.Stage(t.Context(), s); return err })
	for !ask[bool](t, db, waiting) {
		if ask[bool](t, db, `select exists (select from bulksub.plans)`) {
			t.Fatal("the plan was made beside an open commit")
		}
	}
	must(t, tx.Commit(t.Context()))
	must(t, staged.Wait())
	must(t, other.Record(t.Context(), []pipeline.Result{r}))
	wantBeliefs(t, db, "a t11?") // its call was not announced
}

// TestStageWaitsForNoCopy: the process behind it may be frozen, and the server lets a COPY wait without end.
func TestStageWaitsForNoCopy(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	cutter, through := pgtest.NewCutter(t, db)
	other, p := newPostgres(t, through, "other"), newPostgres(t, db, "job")
	s, r := wish(t, db, "a", some("a", 1, 5)), result(claim(t, other, 1), "11", pipeline.OK)
	r.Done = []pipeline.Action{add("a")}
	cutter.ArmAt("copy bulksub.records", func(net.Conn, []byte) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := p.Stage(ctx, s)
		return err
	})
	must(t, other.Record(t.Context(), []pipeline.Result{r}))
	if cutter.Armed() || !ask[bool](t, db, `select exists (select from bulksub.plans)`) {
		t.Error("nothing was planned beside a COPY")
	}
	wantBeliefs(t, db, "a t11?") // its call was not announced
}

// TestClaimSeesTheSyncThatItWaitedFor: also where a database prefers a level at which what is read is as old as the wait.
func TestClaimSeesTheSyncThatItWaitedFor(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `do $$ begin execute format('alter database %I set default_transaction_isolation = "repeatable read"', current_database()); end $$`)
	db.Reset()
	p := newPostgres(t, db, "job")
	sync, err := db.Begin(t.Context())
	must(t, err)
	defer sync.Rollback(t.Context())
	_, err = sync.Exec(t.Context(), `select pg_advisory_xact_lock($1)`, membership)
	must(t, err)
	mustExec(t, sync, `insert into bulksub.synced (topic, kind) values ('a', 'kind')`)
	claimed := pool.New().WithErrors()
	claimed.Go(func() error { _, err := p.Claim(t.Context(), plan(t, 1)); return err })
	for !ask[bool](t, db, waiting) {
		if p.synced.Load() != nil {
			t.Fatal("a claim did not wait for a sync")
		}
	}
	must(t, sync.Commit(t.Context()))
	must(t, claimed.Wait())
	if !p.synced.Load().has("a") {
		t.Error("a claim has not seen the sync that it waited for")
	}
}
