package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
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

// wish makes a sync of a query with the columns token and topic.
func wish(t *testing.T, db *pgxpool.Pool, topic, query string) Sync {
	t.Helper()
	r, err := postgres.Resolve(t.Context(), db, postgres.Wanted{Query: query, TokenColumn: "token", Keyless: true, Further: []string{"topic"}})
	must(t, err)
	return Sync{Relation: r, Topic: topic, Batch: 1000, MaxRemove: 1}
}

// some yields the tokens from-to of a topic.
func some(topic string, from, to int) string {
	return fmt.Sprintf(`select 't' || n as token, '%s' as topic from generate_series(%d, %d) n`, topic, from, to)
}

func stage(t *testing.T, p *Postgres, s Sync) Difference {
	t.Helper()
	d, err := p.Stage(t.Context(), s)
	must(t, err)
	return d
}

// call is a call that is answered.
func call(t *testing.T, p *Postgres, a pipeline.Action, tokens ...string) {
	t.Helper()
	must(t, p.Announce(t.Context(), a, tokens))
	must(t, p.Ended(t.Context(), a, tokens, false))
}

// carryOut does what is planned: all calls succeed.
func carryOut(t *testing.T, db *pgxpool.Pool, p *Postgres) {
	t.Helper()
	c := claim(t, p, 1)
	rows, err := db.Query(t.Context(), `select n::text, op, topic, token from bulksub.planned where job_id = $1`, p.Job().ID)
	must(t, err)
	defer rows.Close()
	var done []pipeline.Result
	for rows.Next() {
		var op pipeline.Op
		r := pipeline.Result{Claim: c, Fate: &pipeline.Fate{Status: pipeline.OK}}
		must(t, rows.Scan(&r.Key, &op, &r.Topic, &r.Token))
		r.Done = []pipeline.Action{{Op: op, Topic: r.Topic}}
		done = append(done, r)
	}
	for _, r := range done {
		call(t, p, r.Done[0], r.Token)
	}
	must(t, p.Record(t.Context(), done))
	must(t, p.Finish(t.Context(), c))
	work(t, p, 1, nil)
	_, err = p.End(t.Context(), func(ctx context.Context, e Ending) (json.RawMessage, error) { return nil, p.DropPlan(ctx, e.Fence) })
	must(t, err)
}

func wantDifference(t *testing.T, got, want Difference) {
	t.Helper()
	if got != want {
		t.Errorf("the difference is %+v, want %+v", got, want)
	}
}

// TestStageOnce: one of two processes makes the plan for both, and a run that goes on keeps the plan though the
// wanted set has changed.
func TestStageOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `create table wanted as `+some("a", 1, 10))
	s := wish(t, db, "a", `select * from wanted`)
	processes := []*Postgres{newPostgres(t, db, "job"), newPostgres(t, db, "job")}
	gate := transaction(t, db, `lock table wanted in access exclusive mode`)
	stages := pool.New().WithErrors()
	for _, p := range processes {
		stages.Go(func() error {
			d, err := p.Stage(t.Context(), s)
			if err == nil && (d != Difference{Wanted: 10, Add: 10, Batches: 1}) {
				err = fmt.Errorf("%+v", d)
			}
			return err
		})
	}
	for ask[int](t, db, `select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())`) < len(processes) {
	}
	must(t, gate.Rollback(t.Context()))
	must(t, stages.Wait())
	mustExec(t, db, `delete from wanted`)
	wantDifference(t, stage(t, newPostgres(t, db, "job"), s), Difference{Wanted: 10, Add: 10, Batches: 1})
	if got := ask[string](t, db, `select count(distinct n) || op || topic || count(distinct token) from bulksub.planned where n between 1 and 10 group by op, topic`); got != "10subscribea10" {
		t.Errorf("planned are %s", got)
	}
}

// TestStageIsAllOrNothing cuts the commit of a plan before it reaches the server and
// after.
func TestStageIsAllOrNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	c, through := pgtest.NewCutter(t, db)
	p := newPostgres(t, through, "job")
	s := wish(t, db, "a", some("a", 1, 10))
	c.Arm(pgtest.CutBefore)
	wantDifference(t, stage(t, p, s), Difference{Wanted: 10, Add: 10, Batches: 1})
	mustExec(t, db, `delete from bulksub.plans; delete from bulksub.planned`)
	c.Arm(pgtest.CutAfter)
	wantDifference(t, stage(t, p, s), Difference{Wanted: 10, Add: 10, Batches: 1})
	if got := ask[int](t, db, `select count(*) from bulksub.planned`); c.Armed() || got != 10 {
		t.Errorf("%d rows are planned", got)
	}
}

func TestDifference(t *testing.T) {
	t.Parallel()
	const belief = `insert into bulksub.subscriptions (topic, token, since, job_id) select 'a', 't' || n, now() - n * interval '1 day', 0 from generate_series(1, 10) n`
	for name, test := range map[string]struct {
		query string
		with  func(*Sync)
		want  Difference
	}{
		"the same":    {some("a", 1, 10), nil, Difference{Wanted: 10, Believed: 10}},
		"other":       {some("a", 3, 15), nil, Difference{Wanted: 13, Believed: 10, Add: 5, Remove: 2, Batches: 2}},
		"duplicates":  {some("a", 1, 11) + ` union all ` + some("a", 9, 12) + ` union all ` + some("a", 12, 12), nil, Difference{Wanted: 12, Believed: 10, Add: 2, Duplicates: 2, Batches: 1}},
		"asserted":    {some("a", 2, 11), func(s *Sync) { s.AssertAll = true }, Difference{Wanted: 10, Believed: 10, Add: 1, Assert: 9, Remove: 1, Batches: 2}},
		"old":         {some("a", 2, 11), func(s *Sync) { s.OlderThan = 7*24*time.Hour + time.Hour }, Difference{Wanted: 10, Believed: 10, Add: 1, Assert: 3, Remove: 1, Batches: 2}},
		"batches":     {some("a", 1, 35), func(s *Sync) { s.Batch = 10 }, Difference{Wanted: 35, Believed: 10, Add: 25, Batches: 3}},
		"many topics": {some("a", 1, 9) + ` union all ` + some("/topics/b", 1, 3), func(s *Sync) { s.Topic = "" }, Difference{Wanted: 12, Believed: 10, Add: 3, Remove: 1, Batches: 2}},
		"malformed": {some("a", 1, 10) + ` union all values (null, 'a'), ('', 'a'), ('', 'a'), ('t 1', 'a'), (repeat('x', 4097), 'a'), ('t1', null), ('t1', ''), ('t1', 'a b')`,
			func(s *Sync) { s.Topic = "" }, Difference{Wanted: 10, Believed: 10, Malformed: 8}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			mustExec(t, db, belief)
			s := wish(t, db, "a", test.query)
			if test.with != nil {
				test.with(&s)
			}
			d, err := Compare(t.Context(), db, asked, s, "", time.Minute)
			must(t, err)
			wantDifference(t, d, test.want)
			if n := ask[int](t, db, `select count(*) from bulksub.synced`); n != 0 {
				t.Errorf("a comparison put %d topics under sync", n)
			}
			p := newPostgres(t, db, "job")
			wantDifference(t, stage(t, p, s), test.want)
			if n := ask[int64](t, db, `select count(*) from bulksub.planned`); n != test.want.Rows() {
				t.Errorf("%d rows are planned", n)
			}
		})
	}
}

func TestSyncBrake(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `insert into bulksub.subscriptions (topic, token, job_id) select 'a', 't' || n, 0 from generate_series(1, 10) n`)
	p := newPostgres(t, db, "job")
	for _, test := range []struct {
		query string
		max   float64
		empty bool
		trips bool
	}{
		{some("a", 4, 10), 0.2, false, true},
		{some("a", 3, 10), 0.2, false, false},
		{some("a", 4, 10), 1, false, false},
		{some("a", 1, 0), 1, false, true},
		{some("a", 1, 0), 0.2, true, true},
		{some("a", 1, 0), 1, true, false},
		{`select ' ' as token, 'a' as topic`, 1, false, true},
	} {
		s := wish(t, db, "a", test.query)
		s.MaxRemove, s.AllowEmpty = test.max, test.empty
		_, err := p.Stage(t.Context(), s)
		if _, trips := errors.AsType[*SyncBrakeError](err); trips != test.trips || err != nil && !trips {
			t.Errorf("%s with %g, %t: %v", test.query, test.max, test.empty, err)
		}
		if n := ask[int](t, db, `select count(*) from bulksub.synced`); test.trips && n != 0 {
			t.Errorf("%s: the brake left %d topics under sync", test.query, n)
		}
		mustExec(t, db, `truncate bulksub.plans, bulksub.planned, bulksub.synced`)
	}
	_, err := p.Stage(t.Context(), Sync{Relation: wish(t, db, "a", some("a", 4, 10)).Relation, Topic: "a", MaxRemove: 0.2})
	wantText(t, fmt.Sprint(err), "3 of 10 subscriptions would be removed, more than 20 %", "--max-remove 31%")
}

// TestBrakeCountsWhatIsSure: the brake does not count what the service has never said it holds. It counts what the service
// has once said it holds, though that is in doubt.
func TestBrakeCountsWhatIsSure(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `
		insert into bulksub.subscriptions (topic, token, job_id, since, doubted, caller)
		select 'a', 't' || n, 0, case when n > 10 then '-infinity' else clock_timestamp() end, case when n > 10 or n < 3 then clock_timestamp() end, 0
		from generate_series(1, 20) n`)
	for from, trips := range map[int]bool{3: false, 4: true} {
		s := wish(t, db, "a", some("a", from, 10))
		s.MaxRemove = 0.2
		d, err := newPostgres(t, db, fmt.Sprint("job", from)).Stage(t.Context(), s)
		if brake, tripped := errors.AsType[*SyncBrakeError](err); tripped != trips {
			t.Errorf("%d to be removed of 10: %v", from-1, err)
		} else if trips {
			wantText(t, brake.Error(), "3 of 10 subscriptions would be removed")
		} else {
			wantDifference(t, d, Difference{Wanted: 8, Believed: 20, Remove: 12, Doubted: 10, Batches: 1})
		}
		mustExec(t, db, `truncate bulksub.plans, bulksub.planned, bulksub.synced`)
	}
}

// TestOtherService: beliefs about one service are not taken for beliefs about another service, whose results do
// not change them.
func TestOtherService(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	first := newPostgres(t, db, "first")
	first.Calls("production", time.Minute)
	stage(t, first, wish(t, db, "news", some("news", 1, 2)))
	carryOut(t, db, first)
	must(t, first.Close())
	rehearsal := newPostgres(t, db, "rehearsal")
	rehearsal.Calls("a stand-in", time.Minute)
	_, err := rehearsal.Stage(t.Context(), wish(t, db, "news", some("news", 1, 5)))
	if _, refused := errors.AsType[*OtherServiceError](err); !refused {
		t.Fatalf("it is planned: %v", err)
	}
	wantText(t, err.Error(), "topic news is under sync for production, and this run would call a stand-in")
	_, foreseen := Compare(t.Context(), db, asked, wish(t, db, "news", some("news", 1, 2)), "a stand-in", time.Minute)
	wantText(t, foreseen.Error(), err.Error())
	c := claim(t, rehearsal, 1)
	must(t, rehearsal.Announce(t.Context(), drop("news"), []string{"t1"}))
	must(t, rehearsal.Record(t.Context(), []pipeline.Result{
		did(c, 0, "t1", drop("news")),
		{Claim: c, Key: keysOf(c.Segment)[1], Token: "t2", Fate: &pipeline.Fate{Status: pipeline.NotFound, Op: pipeline.Unsubscribe, Topic: "news"}},
	}))
	wantBeliefs(t, db, "news t1", "news t2")
}

// TestVanishedTopic: a topic that no row wants any more is emptied if an earlier sync of the same kind covered it,
// also later if somebody fills it again. A topic of another kind of sync is left alone.
func TestVanishedTopic(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `create table wanted as `+some("a", 1, 3)+` union all `+some("b", 1, 3))
	s := wish(t, db, "", `select * from wanted`)
	night := func() Difference {
		t.Helper()
		p := newPostgres(t, db, "")
		d := stage(t, p, s)
		carryOut(t, db, p)
		must(t, p.Close())
		return d
	}
	wantDifference(t, night(), Difference{Wanted: 6, Add: 6, Batches: 2})
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('c', 'other'); insert into bulksub.subscriptions (topic, token, job_id) values ('c', 't1', 0)`)
	mustExec(t, db, `delete from wanted where topic = 'b'`)
	wantDifference(t, night(), Difference{Wanted: 3, Believed: 6, Remove: 3, Batches: 1})
	wantBeliefs(t, db, "a t1", "a t2", "a t3", "c t1")
	wantDifference(t, night(), Difference{Wanted: 3, Believed: 3})
	other := newPostgres(t, db, "other")
	c := claim(t, other, 1)
	must(t, other.Record(t.Context(), []pipeline.Result{did(c, 0, "t9", add("b"))}))
	must(t, other.Close())
	wantDifference(t, night(), Difference{Wanted: 3, Believed: 4, Remove: 1, Batches: 1})
	wantBeliefs(t, db, "a t1", "a t2", "a t3", "c t1")
	if n := ask[int](t, db, `select count(*) from bulksub.planned`); n != 0 {
		t.Errorf("%d planned rows are left", n)
	}
}

// TestAJobLearnsOfSyncs: a job announces its calls for a topic that has come under sync from its next claim on.
func TestAJobLearnsOfSyncs(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	for _, then := range [][]string{nil, {"news t?"}} {
		claim(t, p, 2)
		mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k') on conflict do nothing`)
		must(t, p.Announce(t.Context(), add("news"), []string{"t"}))
		wantBeliefs(t, db, then...)
	}
}

// TestDoubtIsSentAgain: another job had begun to send something, and nobody has heard the end of it. It is sent
// again if it is wanted and taken back if not, but not while that job is at work.
func TestDoubtIsSentAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	first := newPostgres(t, db, "first")
	stage(t, first, wish(t, db, "news", some("news", 1, 4)))
	carryOut(t, db, first)
	killed := newPostgres(t, db, "killed")
	claim(t, killed, 1)
	must(t, killed.Announce(t.Context(), drop("news"), []string{"t1", "t2"}))
	must(t, killed.Announce(t.Context(), add("news"), []string{"t5", "t6"}))
	wanted := wish(t, db, "news", some("news", 1, 5))
	for _, test := range []struct {
		then string
		want Difference
	}{
		{``, Difference{Wanted: 5, Believed: 4, Add: 1, Batches: 1}},
		{`update bulksub.segments set process = $$` + dead(t) + `$$`, Difference{Wanted: 5, Believed: 6, Assert: 3, Remove: 1, Doubted: 1, Batches: 2}},
		{`update bulksub.segments set lease_end = clock_timestamp(), process = null`, Difference{Wanted: 5, Believed: 6, Assert: 3, Remove: 1, Doubted: 1, Batches: 2}},
	} {
		mustExec(t, db, test.then)
		d, err := Compare(t.Context(), db, asked, wanted, "", time.Minute)
		must(t, err)
		wantDifference(t, d, test.want)
	}
	next := newPostgres(t, db, "next")
	wantDifference(t, stage(t, next, wanted), Difference{Wanted: 5, Believed: 6, Assert: 3, Remove: 1, Doubted: 1, Batches: 2})
	mustExec(t, db, longAgo)
	carryOut(t, db, next)
	wantBeliefs(t, db, "news t1", "news t2", "news t3", "news t4", "news t5")
}

// dead is the address of a process that has ended.
func dead(t *testing.T) string {
	t.Helper()
	place, _, ok := strings.Cut(liveness.Here(), " "+strconv.Itoa(os.Getpid())+"@")
	if !ok {
		t.Skip("this system does not tell where a process runs")
	}
	return place + " " + strconv.Itoa(os.Getpid()) + "@0"
}

// TestUnfinishedSyncIsOvertaken: without a name the next sync plans anew, unless a process may be at work on the
// first one. With a name the first one goes on.
func TestUnfinishedSyncIsOvertaken(t *testing.T) {
	t.Parallel()
	db, asked := pgtest.New(t), Asked{"command": "sync", "topic": "news"}
	open := func(name string) *Postgres {
		t.Helper()
		p, err := OpenPostgres(t.Context(), db, name, asked, time.Second)
		must(t, err)
		t.Cleanup(func() { p.Close() })
		return p
	}
	first := open("")
	stage(t, first, wish(t, db, "news", some("news", 1, 3)))
	if again := open(""); again.job.ID != first.job.ID {
		t.Error("a plan is dropped that has just been made")
	}
	c := claim(t, first, 1)
	if _, err := OpenPostgres(t.Context(), db, "", asked, time.Second); !errors.As(err, new(*HeldError)) {
		t.Errorf("beside a process at work: %v", err)
	}
	must(t, first.Close())
	second := open("")
	if second.job.ID == first.job.ID || ask[string](t, db, `select state from bulksub.jobs where id = $1`, first.job.ID) != StateOvertaken {
		t.Error("the first goes on")
	}
	if n := ask[int](t, db, `select count(*) from bulksub.planned`); n != 0 {
		t.Errorf("%d planned rows are left", n)
	}
	if err := first.Finish(t.Context(), c); err != nil {
		t.Errorf("finish: %v", err)
	}
	var shut *ClosedError
	if err := first.Complete(t.Context()); !errors.As(err, &shut) {
		t.Errorf("complete: %v", err)
	}
	if _, err := OpenPostgres(t.Context(), db, first.job.Name, asked, time.Second); !errors.As(err, &shut) || shut.State != StateOvertaken {
		t.Errorf("by its name: %v", err)
	}
	if continued, err := Continue(t.Context(), db, first.job); continued || err != nil {
		t.Errorf("continued: %t, %v", continued, err)
	}
	stage(t, second, wish(t, db, "news", some("news", 1, 3)))
	carryOut(t, db, second)
	mustExec(t, db, `update bulksub.jobs set state = 'open', finished_at = null, planned = true where id = $1`, second.job.ID)
	if third := open(""); third.job.ID == second.job.ID || ask[string](t, db, `select state from bulksub.jobs where id = $1`, second.job.ID) != StateDone {
		t.Error("a sync that was cut short at its very end is not done")
	}
	named := open("named")
	stage(t, named, wish(t, db, "other", some("other", 1, 3)))
	claim(t, named, 1)
	must(t, named.Close())
	if again := open("named"); again.job.ID != named.job.ID || again.job.state != StateOpen {
		t.Error("a named sync does not go on")
	}
}

// TestSyncIsOvertakenOnce: two processes find a sync that was cut short. If the first one overtakes it, the late one
// goes on with the first one's job. If the first one goes on with the sync, the late one does not overtake it.
func TestSyncIsOvertakenOnce(t *testing.T) {
	t.Parallel()
	db, asked := pgtest.New(t), Asked{"command": "sync", "topic": "news"}
	open := func(db *pgxpool.Pool, name string) *Postgres {
		p, err := OpenPostgres(t.Context(), db, name, asked, time.Second)
		must(t, err)
		t.Cleanup(func() { p.Close() })
		return p
	}
	late := func(meanwhile func()) *Postgres {
		cutter, through := pgtest.NewCutter(t, db)
		cutter.ArmAt("else 'overtaken'", func(net.Conn, []byte) error {
			meanwhile()
			return nil
		})
		return open(through, "")
	}
	first := open(db, "")
	stage(t, first, wish(t, db, "news", some("news", 1, 3)))
	claim(t, first, 1)
	must(t, first.Close())
	late(func() { claim(t, open(db, first.job.Name), 1) })
	if ask[string](t, db, `select state from bulksub.jobs`) != StateOpen {
		t.Error("a sync is overtaken at which a process is at work")
	}
	mustExec(t, db, expire)
	var second *Postgres
	if third := late(func() { second = open(db, "") }); third.job.ID != second.job.ID || second.job.ID == first.job.ID {
		t.Errorf("the late one goes on with job %s", third.job.Name)
	}
}

// TestDropPlanKeepsWhatFailed: the run that sends it again finds it.
func TestDropPlanKeepsWhatFailed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	stage(t, p, wish(t, db, "a", some("a", 1, 13)))
	work(t, p, 1, map[string]pipeline.Status{"12": pipeline.Failed})
	mustExec(t, db, `insert into bulksub.planned (job_id, n, op) values (0, 11, 'subscribe')`)
	for range 2 {
		must(t, p.DropPlan(t.Context(), func(context.Context, pgx.Tx) error { return nil }))
		if got := ask[string](t, db, `select string_agg(n::text, ' ' order by n) from bulksub.planned where job_id > 0`); got != "1 2 3 4 5 6 7 8 9 10 12" {
			t.Errorf("left are %s", got)
		}
	}
	if ask[int](t, db, `select count(*) from bulksub.planned where job_id = 0`) != 1 {
		t.Error("another job's plan was dropped")
	}
}

// TestDropPlanLooksEachRowUp: also when the planner has looked at the plans of other jobs last.
func TestDropPlanLooksEachRowUp(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `insert into bulksub.planned (job_id, n, op) select 1, n, 'subscribe' from generate_series(1, 20000) n`)
	mustExec(t, db, `analyze bulksub.planned`)
	mustExec(t, db, `insert into bulksub.planned (job_id, n, op) select 2, n, 'subscribe' from generate_series(1, 20000) n`)
	rows, _ := db.Query(t.Context(), "explain "+dropNext, 2, 0)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	plan := strings.Join(lines, "\n")
	if !strings.Contains(plan, "Tid Scan on planned") || !strings.Contains(plan, "Index Scan using planned_pkey on planned p") {
		t.Errorf("it may do without:\n%s", plan)
	}
}
