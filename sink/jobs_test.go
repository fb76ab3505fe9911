package sink

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

func resultKeys(t *testing.T, p *Postgres, statuses ...pipeline.Status) (keys []string) {
	t.Helper()
	for r, err := range Results(t.Context(), p.pool, p.job, statuses) {
		must(t, err)
		keys = append(keys, r.Key)
	}
	return keys
}

func TestResultsOfAJob(t *testing.T) {
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	work(t, p, 3, map[string]pipeline.Status{"12": pipeline.Failed, "31": pipeline.Invalid})
	wantKeys(t, "all", resultKeys(t, p), "11", "12", "13", "21", "22", "23", "31", "32", "33")
	wantKeys(t, "invalid and failed", resultKeys(t, p, pipeline.Invalid, pipeline.Failed), "12", "31")
	for r := range Results(t.Context(), db, p.job, nil) {
		if r.Token != "t11" || r.Topic != "news" || r.Attempts != 1 {
			t.Errorf("result %+v", r)
		}
		break
	}
	mustExec(t, db, `drop view bulksub.results; alter view bulksub.rows rename to away`)
	for _, err := range Results(t.Context(), db, p.job, nil) {
		if err == nil {
			t.Error("no error from results that are not there")
		}
	}
}

// TestOverview: finished segments by what they have noted, open ones by their rows.
func TestOverview(t *testing.T) {
	db := pgtest.New(t)
	newPostgres(t, db, "older")
	p := newPostgres(t, db, "job")
	must(t, p.NoteLine(t.Context(), []byte(`{"command": ["x"]}`), 9))
	must(t, p.NoteLine(t.Context(), []byte(`{"command": ["y"]}`), 10))
	first, second := claim(t, p, 3), claim(t, p, 3)
	must(t, p.Record(t.Context(), results(first)))
	must(t, p.Finish(t.Context(), first))
	must(t, p.Record(t.Context(), results(second)[:1]))
	all, err := Overviews(t.Context(), db, "", 10)
	must(t, err)
	if len(all) != 2 || all[0].Name != "job" || all[1].Name != "older" {
		t.Fatalf("jobs %+v", all)
	}
	o := all[0]
	if o.Segments != (Segments{Cut: 2, Done: 1, Held: 1}) || o.Counts[pipeline.OK] != 4 || *o.Expected != 9 || string(o.Line) != `{"command": ["x"]}` {
		t.Errorf("overview %+v", o)
	}
	holders, err := Holders(t.Context(), db, p.job)
	if must(t, err); len(holders) != 1 || holders[0].Segments != 1 || holders[0].Process != p.process {
		t.Errorf("holders %+v", holders)
	}
	if few, err := Overviews(t.Context(), db, "", 1); err != nil || len(few) != 1 {
		t.Errorf("%d jobs, %v", len(few), err)
	}
}

func purger(t *testing.T, p *Postgres) *Purger {
	return &Purger{Pool: p.pool, Retry: postgres.Retrier{Patience: time.Minute, Timeout: time.Minute}}
}

// TestPurgeKeepsTheArchive: also what is pruned after the purge has begun (P4).
func TestPurgeKeepsTheArchive(t *testing.T) {
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	work(t, p, 2, nil)
	must(t, p.Complete(t.Context()))
	mustExec(t, db, `update bulksub.jobs set state = 'purging'`)
	mustExec(t, db, `insert into bulksub.pruned (job_id, "table", row_key, token, "row") select id, 't', 'k', 't', '{}' from bulksub.jobs`)
	if _, _, err := purger(t, p).Purge(t.Context()); err == nil || !strings.Contains(err.Error(), "bulksub unprune") {
		t.Errorf("purged, with %v", err)
	}
	if n := ask[int](t, db, `select count(*) from bulksub.pruned`); n != 1 {
		t.Fatalf("%d rows are left in the archive", n)
	}
	mustExec(t, db, `update bulksub.pruned set restored_at = clock_timestamp()`)
	deleted, _, err := purger(t, p).Purge(t.Context())
	if must(t, err); !slices.Equal(deleted, []string{"job"}) || ask[int](t, db, `select count(*) from bulksub.records`) != 0 {
		t.Errorf("deleted %v", deleted)
	}
}

// A job that is open, however old, or in somebody's hands, is not purged.
func TestPurgeLeavesWorkAlone(t *testing.T) {
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	c := claim(t, p, 1)
	for _, state := range []string{StateOpen, StateCancelled} {
		mustExec(t, db, `update bulksub.jobs set state = $1, finished_at = to_timestamp(0)`, state)
		if deleted, _, err := purger(t, p).Purge(t.Context()); err != nil || len(deleted) > 0 {
			t.Errorf("%s: deleted %v, %v", state, deleted, err)
		}
	}
	must(t, p.Record(t.Context(), results(c)))
	must(t, p.Close())
	if deleted, _, err := purger(t, p).Purge(t.Context()); err != nil || len(deleted) != 1 {
		t.Errorf("cancelled, and left: deleted %v, %v", deleted, err)
	}
}

func TestJobKeepsItsAPI(t *testing.T) {
	db := pgtest.New(t)
	p := newPostgres(t, db, "job")
	if p.API() != "" {
		t.Errorf("a new job goes by %q", p.API())
	}
	must(t, p.SetAPI(t.Context(), "fcm"))
	found, err := Overviews(t.Context(), db, "job", 1)
	must(t, err)
	if again := newPostgres(t, db, "job"); again.API() != "fcm" || found[0].API != "fcm" {
		t.Errorf("it goes on by %q, and is shown to go by %q", again.API(), found[0].API)
	}
}
