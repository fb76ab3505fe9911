package sink

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sourcegraph/conc/pool"

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

func mustExec(t *testing.T, db pgtest.Execer, sql string, args ...any) {
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
	if ask[bool](t, db, `select bool_or(not done) from bulksub.segments where number > 0`) {
		t.Error("segments are open in a job that is done")
	}
	mustExec(t, db, `drop trigger cut on bulksub.jobs`)
	p = newPostgres(t, db, "job")
	if p.Job().Done || newPostgres(t, db, "job").Job().Done {
		t.Error("a job with failed rows counts as done")
	}
	wantKeys(t, "left", work(t, p, 2, nil), "12")
}

// TestOpenOutlivesALostConnection cuts each statement with which a job is opened.
func TestOpenOutlivesALostConnection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, at string }{
		{"job", "insert into bulksub.jobs"}, {"job", "select id, name, asked"}, {"job", "select distinct coalesce(owner"},
		{"job", "state = 'done' from bulksub.jobs where id"}, {"job", "commit\x00"}, {"", "insert into bulksub.jobs"}, {"", "where series"},
	} {
		for when, accident := range map[string]pgtest.Accident{"before": pgtest.CutBefore, "after": pgtest.CutAfter} {
			t.Run(test.name+" "+when+" "+test.at, func(t *testing.T) {
				db := pgtest.New(t)
				p := newPostgres(t, db, test.name)
				work(t, p, 2, map[string]pipeline.Status{"12": pipeline.Failed})
				must(t, p.Complete(t.Context()))
				must(t, p.Close())
				c, through := pgtest.NewCutter(t, db)
				c.ArmAt(test.at, accident)
				again := newPostgres(t, through, test.name)
				if c.Armed() || again.Job().Done {
					t.Errorf("cut: %t; opened %+v", !c.Armed(), again.Job())
				}
				want := []string{"12"}
				if test.name == "" {
					want = allRows
				}
				wantKeys(t, "left", work(t, again, 2, nil), want...)
			})
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
		`insert into bulksub.segments (job_id, number, bounds) select id, -1, '' from bulksub.jobs`,
		`insert into bulksub.pruned (job_id, "table", row_key, token, marked, "row") select id, 't', 'k', 't', '', '{}' from bulksub.jobs`,
	} {
		if _, err := db.Exec(t.Context(), sql); postgres.Code(err) != "23514" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
