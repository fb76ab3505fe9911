package sink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sourcegraph/conc/pool"
	"pgregory.net/rapid"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

func newPostgres(t *testing.T, db *pgxpool.Pool, name string) *Postgres {
	t.Helper()
	p, err := OpenPostgres(t.Context(), db, name, asked, time.Minute)
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func mustExec(t *testing.T, db postgres.Querier, sql string, args ...any) {
	t.Helper()
	_, err := db.Exec(t.Context(), sql, args...)
	must(t, err)
}

// ask returns the one value of a query.
func ask[T any](t *testing.T, db postgres.Querier, sql string, args ...any) (v T) {
	t.Helper()
	must(t, db.QueryRow(t.Context(), sql, args...).Scan(&v))
	return v
}

// recordedKeys lists what stands in the ledger, with repetitions if there were any.
func recordedKeys(t *testing.T, db postgres.Querier) []string {
	t.Helper()
	return ask[[]string](t, db, `select coalesce(array_agg(row_key order by row_key), '{}') from bulksub.results`)
}

func claim(t *testing.T, p *Postgres, segments int) *pipeline.Claim {
	t.Helper()
	c, err := p.Claim(t.Context(), plan(t, segments))
	must(t, err)
	return c
}

func results(c *pipeline.Claim) (all []pipeline.Result) {
	for _, key := range keysOf(c.Segment) {
		all = append(all, result(c, key, pipeline.OK))
	}
	return all
}

const expire = `update bulksub.segments set lease_end = clock_timestamp() - interval '1 second'`

func TestEightProcessesMakeOneJob(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"night", ""} {
		db := pgtest.New(t)
		opens := pool.NewWithResults[int64]().WithErrors()
		for range 8 {
			opens.Go(func() (int64, error) {
				p, err := OpenPostgres(t.Context(), db, name, asked, time.Minute)
				if err != nil {
					return 0, err
				}
				return p.Job().ID, p.Close()
			})
		}
		ids, err := opens.Wait()
		must(t, err)
		if slices.Sort(ids); ids[0] != ids[7] || ask[int](t, db, `select count(*) from bulksub.jobs`) != 1 {
			t.Errorf("name %q: jobs %v", name, ids)
		}
	}
}

func TestSeries(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	night := func(want string) {
		t.Helper()
		p := newPostgres(t, db, "")
		if p.Job().Name != want {
			t.Errorf("job %s, want %s", p.Job().Name, want)
		}
		must(t, p.Close())
		p = newPostgres(t, db, "")
		if p.Job().Name != want {
			t.Errorf("the unfinished %s went on as %s", want, p.Job().Name)
		}
		work(t, p, 1, nil)
		must(t, p.Complete(t.Context()))
		must(t, p.Close())
	}
	base := asked.series()
	wantText(t, base, "subscribe-news-public.devices-")
	night(base)
	night(base + "-2")
	mustExec(t, db, `insert into bulksub.jobs (name, asked) values ($1, '{}'), ($2, '{}')`, base+"-3", base+"-x")
	night(base + "-4")
	mustExec(t, db, `delete from bulksub.jobs where name = any($1)`, []string{base, base + "-2"})
	night(base + "-5")
}

func TestSeriesWhoseNameAUserTook(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	newPostgres(t, db, asked.series())
	if name := newPostgres(t, db, "").Job().Name; name != asked.series()+"-2" {
		t.Errorf("job %s", name)
	}
}

// TestUnnamedGoesOnWithWhatIsOpen: an earlier job of a series that was opened
// again by its name comes before the finished one after it.
func TestUnnamedGoesOnWithWhatIsOpen(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for range 2 {
		newPostgres(t, db, "")
		mustExec(t, db, `update bulksub.jobs set state = 'done'`)
	}
	mustExec(t, db, `update bulksub.jobs set state = 'open' where name = '`+asked.series()+`'`)
	if name := newPostgres(t, db, "").Job().Name; name != asked.series() {
		t.Errorf("went on with %s", name)
	}
}

func TestUnnamedJobIsForOneProcess(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "")
	claim(t, p, 1)
	_, err := OpenPostgres(t.Context(), db, "", asked, time.Minute)
	if held, ok := errors.AsType[*HeldError](err); !ok || !strings.Contains(held.Error(), p.Job().Name) {
		t.Errorf("opened beside another process: %v", err)
	}
	must(t, p.Close())
	must(t, newPostgres(t, db, "").Close())
}

func TestReopenCutShortGoesOn(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	work(t, p, 2, map[string]pipeline.Status{"12": pipeline.Failed})
	must(t, p.Complete(t.Context()))
	must(t, p.Close())
	mustExec(t, db, `create function refuse() returns trigger language plpgsql as $$ begin raise 'cut'; end $$`)
	mustExec(t, db, `create trigger cut before update on bulksub.jobs execute function refuse()`)
	if _, err := OpenPostgres(t.Context(), db, "job", asked, time.Minute); err == nil {
		t.Error("opened")
	}
	if ask[bool](t, db, `select bool_or(not done) from bulksub.segments`) {
		t.Error("segments are open in a job that is done")
	}
	mustExec(t, db, `drop trigger cut on bulksub.jobs`)
	p = newPostgres(t, db, "job")
	if p.Job().Done || newPostgres(t, db, "job").Job().Done {
		t.Error("a job with failed rows counts as done")
	}
	wantKeys(t, "left", work(t, p, 2, nil), "12")
}

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
	if _, ok := p.holdings()[lost.Segment.Number]; ok {
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

// cutter is a connection to Postgres in which the next commit meets an accident.
type cutter struct {
	mu       sync.Mutex
	accident func(net.Conn, []byte) error // nil: none
}

// arm makes the next commit meet an accident.
func (c *cutter) arm(accident func(net.Conn, []byte) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accident = accident
}

func (c *cutter) armed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accident != nil
}

type cutConn struct {
	net.Conn
	cutter *cutter
}

func (c *cutConn) Write(b []byte) (int, error) {
	c.cutter.mu.Lock()
	defer c.cutter.mu.Unlock()
	accident := c.cutter.accident
	if accident == nil || !strings.Contains(string(b), "commit\x00") {
		return c.Conn.Write(b)
	}
	c.cutter.accident = nil
	if err := accident(c.Conn, b); err != nil {
		c.Conn.Close()
		return 0, err
	}
	return c.Conn.Write(b)
}

// Read waits for an accident under way, which reads the reply itself.
func (c *cutConn) Read(b []byte) (int, error) {
	c.cutter.armed()
	return c.Conn.Read(b)
}

var errCut = errors.New("connection cut by the test")

// cutBefore lets no commit reach the server, cutAfter lets no reply come back.
func cutBefore(net.Conn, []byte) error { return errCut }

func cutAfter(conn net.Conn, commit []byte) error {
	if _, err := conn.Write(commit); err != nil {
		return err
	}
	reply := make([]byte, 1)
	if _, err := conn.Read(reply); err != nil {
		return err
	}
	return errCut
}

// newCutter returns a second pool on the database, of one connection at a time.
func newCutter(t *testing.T, db *pgxpool.Pool) (*cutter, *pgxpool.Pool) {
	t.Helper()
	c := new(cutter)
	config := db.Config()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &cutConn{Conn: conn, cutter: c}, err
	}
	config.ConnConfig.RuntimeParams["application_name"] = "victim"
	through, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(through.Close)
	return c, through
}

// TestCommitWithUnknownOutcome cuts each of a job's commits, before it reaches the
// server and after: every row is there once, and no segment is left behind.
func TestCommitWithUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, accident := range map[string]func(*pgxpool.Pool) func(net.Conn, []byte) error{
		"before": func(*pgxpool.Pool) func(net.Conn, []byte) error { return cutBefore },
		"after":  func(*pgxpool.Pool) func(net.Conn, []byte) error { return cutAfter },
		"terminated": func(db *pgxpool.Pool) func(net.Conn, []byte) error {
			return func(net.Conn, []byte) error {
				_, err := db.Exec(context.Background(), `select pg_terminate_backend(pid, 10000) from pg_stat_activity
					where application_name = 'victim' and datname = current_database() and state = 'idle in transaction'`)
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.New(t)
			c, through := newCutter(t, db)
			p := newPostgres(t, through, "job")
			claim(t, p, 2)
			claim(t, p, 2)
			must(t, p.Close())
			p = newPostgres(t, through, "job")

			c.arm(accident(db))
			first, second := claim(t, p, 2), claim(t, p, 2)
			c.arm(accident(db))
			must(t, p.Record(t.Context(), append(results(first), results(second)...)))
			if c.armed() {
				t.Fatal("no commit met an accident")
			}
			must(t, p.Finish(t.Context(), first))
			must(t, p.Finish(t.Context(), second))
			if got := recordedKeys(t, db); !slices.Equal(got, allRows) {
				t.Errorf("rows %v", got)
			}
			wantKeys(t, "left", work(t, p, 2, nil))
			must(t, p.Complete(t.Context()))
			if ask[string](t, db, `select state from bulksub.jobs`) != "done" {
				t.Error("a segment was left behind")
			}
		})
	}
}

// TestRecordIsAllOrNothing refuses the last row of a transaction.
func TestRecordIsAllOrNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	first, second := claim(t, p, 2), claim(t, p, 2)
	must(t, p.Record(t.Context(), results(second)[2:]))
	if err := p.Record(t.Context(), append(results(first), results(second)...)); postgres.Code(err) != "23505" {
		t.Errorf("recorded a row twice: %v", err)
	}
	if got := recordedKeys(t, db); !slices.Equal(got, []string{"23"}) {
		t.Errorf("rows %v", got)
	}
}

// TestTextComesBack sends any text through COPY.
func TestTextComesBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	c := claim(t, p, 1)
	exact := []string{`\N`, `\.`, "\\", "a\tb", "a\nb", "a\rb", `\\t`, "\v\f\b", "é\u2028", "\x7f", "' \"", `C:\new`}
	check := func(t rapid.TB, in string) {
		_, err := db.Exec(context.Background(), `truncate bulksub.rows`)
		if err != nil {
			t.Fatal(err)
		}
		r := pipeline.Result{Claim: c, Key: in, Token: in, Topic: in, Status: pipeline.Invalid, Code: in, RegistrationToken: in}
		if err := p.Record(context.Background(), []pipeline.Result{r}); err != nil {
			t.Fatalf("record %q: %v", in, err)
		}
		var key, token, topic string
		var code, registration, detail *string
		err = db.QueryRow(context.Background(), `select row_key, token, topic, code, registration_token, detail from bulksub.results`).
			Scan(&key, &token, &topic, &code, &registration, &detail)
		want := strings.ToValidUTF8(strings.ReplaceAll(in, "\x00", "\ufffd"), "\ufffd")
		if err != nil || key != want || token != want || topic != want || detail != nil {
			t.Fatalf("%q came back as %q, %q, %q, %v, %v", in, key, token, topic, detail, err)
		}
		if (code == nil) != (in == "") || code != nil && (*code != want || *registration != want) {
			t.Fatalf("%q came back as %v, %v", in, code, registration)
		}
	}
	for _, in := range append(exact, "", "\x00", "a\xffb\xfe\xfd", "\xc3") {
		check(t, in)
	}
	alphabet := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte("\\Nt.\t\n\r\x00\xff\xc3\xa9a")), rapid.Byte()), 0, 12)
	rapid.Check(t, func(t *rapid.T) { check(t, string(alphabet.Draw(t, "text"))) })
}

func TestDetailIsKeptWordForWord(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	c := claim(t, p, 1)
	for i, detail := range []string{`{"b":1, "a":1.50,"a":2}`, `"\u0000 \ud800"`, `1e999999`, `null`} {
		r := result(c, fmt.Sprint(i), pipeline.OK)
		r.Detail = detail
		must(t, p.Record(t.Context(), []pipeline.Result{r}))
		if got := ask[string](t, db, `select detail::text from bulksub.results where row_key = $1`, r.Key); got != detail {
			t.Errorf("%s came back as %s", detail, got)
		}
	}
}

func TestLedgerRefusesEmptyNames(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	newPostgres(t, db, "job")
	for _, sql := range []string{
		`insert into bulksub.jobs (name, asked) values ('', '{}')`,
		`insert into bulksub.jobs (name, series, asked) values ('a', '', '{}')`,
		`insert into bulksub.jobs (name, asked, state) values ('a', '{}', 'gone')`,
		`insert into bulksub.segments (job_id, number, bounds, owner) select id, 1, '', '' from bulksub.jobs`,
		`insert into bulksub.segments (job_id, number, bounds) select id, 0, '' from bulksub.jobs`,
		`insert into bulksub.pruned (job_id, "table", row_key, token, marked, "row") select id, 't', 'k', 't', '', '{}' from bulksub.jobs`,
	} {
		if _, err := db.Exec(t.Context(), sql); postgres.Code(err) != "23514" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
