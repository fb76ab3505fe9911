package faults

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/internal/trial"
)

// content is every byte of a table.
func content(t testing.TB, db *pgxpool.Pool, from string) (sum string) {
	t.Helper()
	must(t, db.QueryRow(t.Context(), `select coalesce(md5(string_agg(r::text, e'\n' order by r::text)), '') from (select * from `+from+`) as r`).Scan(&sum))
	return sum
}

// F50: a provider that says NOT_FOUND of living tokens for a while. The brake holds back what is too much; what is not, comes
// back from the archive byte for byte.
func TestLyingService(t *testing.T) {
	t.Parallel()
	for share, pruned := range map[float64]bool{1: false, 0.6: false, 0.05: true} {
		t.Run(fmt.Sprintf("%.0f%%", 100*share), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, iidtest.Mix{Dead: share})
			before := content(t, s.db, "users")
			code, last := s.Run(s.args("--prune", "delete")...)
			reached(t, "lies were told", last.NotFound, 400)
			if !pruned {
				if code != 4 || last.Pruned != 0 || content(t, s.db, "users") != before {
					t.Errorf("ended with %d, %d pruned: %s", code, last.Pruned, last.Words)
				}
				return
			}
			if code != 0 || last.Pruned != last.NotFound || content(t, s.db, "users") == before {
				t.Errorf("ended with %d, %d pruned of %d: %s", code, last.Pruned, last.NotFound, last.Words)
			}
			if out, err := s.tool("unprune", "it"); err != nil || content(t, s.db, "users") != before {
				t.Errorf("the rows are not what they were: %v: %s", err, out)
			}
		})
	}
}

// F51: rows get a new token between the verdict and the prune, and some a new token and the old one again. Those that hold
// another token than was judged stay.
func TestTokensChangeBeforeThePrune(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	var changed int64
	s.atCall(batches, func() {
		tag, err := s.db.Exec(context.Background(), `
			update users set token = 'new-' || token where id in (
				select row_key::bigint from bulksub.rows where status = 'not_found' order by 1 limit 100)`)
		if err != nil {
			t.Error(err)
		}
		changed = tag.RowsAffected()
	})
	code, last := s.Run(s.args("--prune", "delete", "--concurrency", "1")...)
	reached(t, "rows got a new token", changed, 100)
	var left, kept int64
	must(t, s.db.QueryRow(t.Context(), `select count(*), count(*) filter (where token like 'new-%') from users`).Scan(&left, &kept))
	if code != 0 || kept != changed || last.Pruned != last.NotFound-changed || left != rows-last.Pruned {
		t.Errorf("ended with %d: %d pruned of %d, %d left, %d of them changed: %s", code, last.Pruned, last.NotFound, left, kept, last.Words)
	}
}

// F54: killed at every request and reply of a prune. It goes on where it was: what is archived is what has gone, once.
func TestKilledInMidPrune(t *testing.T) {
	t.Parallel()
	s := newScene(t, iidtest.Mix{Dead: 0.15})
	if code, last := s.Run(s.args()...); code != 0 {
		t.Fatalf("ended with %d: %s", code, last.Words)
	}
	before := content(t, s.db, "users where id not in (select row_key::bigint from bulksub.rows where status = 'not_found')")
	var victim atomic.Pointer[os.Process]
	s.Joins, s.Leaves = func(it *os.Process) { victim.Store(it) }, func(*os.Process) {}
	kills := 0
	var code int
	var last trial.Summary
	for n, killed := int64(1), true; killed; n++ {
		var seen atomic.Int64
		var begun atomic.Bool
		s.proxy.obey(func(m message) fate {
			if m.asks("'not_found'") { // it looks for what is to be pruned
				begun.Store(true)
			}
			if begun.Load() && m.ends() && seen.Add(1) == n {
				victim.Load().Kill()
			}
			return pass
		})
		code, last = s.Run(s.args("--prune", "delete")...)
		if killed = code == trial.Killed; killed {
			kills++
		}
	}
	reached(t, "processes were killed", kills, 10)
	var gone, archived, left, dead int64
	must(t, s.db.QueryRow(t.Context(), `
		select (select count(*) from bulksub.rows where status = 'not_found'), (select count(*) from bulksub.pruned), (select count(*) from users),
			(select count(*) from users u join bulksub.rows r on r.row_key = u.id::text and r.status = 'not_found')`).Scan(&gone, &archived, &left, &dead))
	if gone == 0 || archived != gone || left != rows-gone || dead != 0 || content(t, s.db, "users") != before {
		t.Errorf("%d not found, %d archived, %d left, %d of them not found", gone, archived, left, dead)
	}
	if code != 0 || last.Pruned != gone {
		t.Errorf("the last run ended with %d, %d pruned: %s", code, last.Pruned, last.Words)
	}
}

// F23: rows come, change and go while the table is read. A row that stayed as it was has one result, any other at most
// one for each token that it held, and no row is touched by us.
func TestRowsComeAndGo(t *testing.T) {
	t.Parallel()
	s := newScene(t, iidtest.Mix{})
	s.exec(`create table shadow as select * from users`)
	var calls, writes atomic.Int64
	s.Each(func() {
		n := calls.Add(1)
		for _, table := range []string{"users", "shadow"} {
			_, err := s.db.Exec(context.Background(), fmt.Sprintf(`
				delete from %[1]s where id %% 97 = %[2]d %% 97;
				update %[1]s set token = 'new-' || token where id %% 89 = %[2]d %% 89;
				insert into %[1]s select -id - 100000 * %[2]d, 'late-%[2]d-' || id from generate_series(1, 50) id;
				insert into %[1]s select 1000000 * %[2]d + id, 'ahead-%[2]d-' || id from generate_series(1, 50) id`, table, n))
			if err != nil {
				t.Error(err)
			}
		}
		writes.Add(1)
	})
	code, last := s.Run(s.args("--concurrency", "1")...)
	if code != 0 {
		t.Errorf("ended with %d: %s", code, last.Words)
	}
	reached(t, "changes were made", writes.Load(), batches/2)
	var missing, twice int
	must(t, s.db.QueryRow(t.Context(), `
		select (select count(*) from users where id between 1 and $1 and token not like 'new-%' and id::text not in (select row_key from bulksub.rows)),
			(select count(*) - count(distinct row_key) from bulksub.rows)`, rows).Scan(&missing, &twice))
	if missing > 0 || twice > 0 {
		t.Errorf("%d rows that never changed have no result, %d have two", missing, twice)
	}
	if content(t, s.db, "users") != content(t, s.db, "shadow") {
		t.Error("the table is not what its users have made of it")
	}
}

// The roles of deploy/roles.sql are enough for what each is for, and for no more.
func TestRoles(t *testing.T) {
	t.Parallel()
	s, _ := clusterScene(t, iidtest.Mix{Dead: 0.1})
	s.roles()
	s.exec(`create role reader login in role bulksub_reader; create role writer login in role bulksub_writer;
		create role pruner login in role bulksub_pruner; create table other ();
		grant select on users to bulksub_reader; grant delete on users to bulksub_pruner`)
	as := func(role string) { s.Env = []string{"DATABASE_URL=" + s.proxy.url(role)} }

	as("reader")
	if code, last := s.Run(s.args()...); code != 78 {
		t.Errorf("a reader's job ended with %d: %s", code, last.Words)
	}
	as("writer")
	if code, last := s.Run(s.args()...); code != 0 || last.Rows != rows {
		t.Errorf("a writer's job ended with %d: %s", code, last.Words)
	}
	if code, last := s.Run("sync", "--topic", "members", "--table", "users", "--rate", "0"); code != 0 {
		t.Errorf("a writer's sync ended with %d: %s", code, last.Words)
	}
	if out, err := s.tool("load", trial.WriteTokens(t, 10)); err != nil {
		t.Errorf("a writer loads no tokens: %v: %s", err, out)
	}
	if code, last := s.Run(s.args("--prune", "delete")...); code != 65 || last.Pruned != 0 {
		t.Errorf("a writer's prune ended with %d: %s", code, last.Words)
	}
	as("reader")
	if out, err := s.tool("jobs", "show", "it"); err != nil {
		t.Errorf("a reader sees no job: %v: %s", err, out)
	}
	if out, err := s.tool("jobs", "pause", "it"); err == nil {
		t.Errorf("a reader pauses a job: %s", out)
	}
	as("pruner")
	if code, last := s.Run(s.args("--prune", "delete")...); code != 0 || last.Pruned != last.NotFound || last.Pruned == 0 {
		t.Errorf("a pruner's prune ended with %d: %s", code, last.Words)
	}
	if out, err := s.tool("unprune", "it"); err == nil {
		t.Errorf("a pruner without insert brings rows back: %s", out)
	}
	s.exec(`grant insert on users to bulksub_pruner`)
	if out, err := s.tool("unprune", "it"); err != nil {
		t.Errorf("a pruner with insert brings nothing back: %v: %s", err, out)
	}
	s.refused("reader", `select from other`, `delete from users`, `update bulksub.jobs set paused = true`, `create table bulksub.mine (n int)`)
	s.refused("writer", `select from other`, `delete from users`, `update bulksub.records set status = 'ok'`, `delete from bulksub.jobs`, `delete from bulksub.pruned`)
	s.refused("pruner", `select from other`, `update users set token = ''`, `update bulksub.pruned set "row" = '{}'`, `delete from bulksub.pruned`)
}

// refused makes sure that a role may do none of that.
func (s *scene) refused(role string, statements ...string) {
	s.t.Helper()
	db, err := pgx.Connect(s.t.Context(), s.proxy.url(role))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close(context.Background())
	for _, sql := range statements {
		if _, err := db.Exec(s.t.Context(), sql); postgres.Code(err) != "42501" {
			s.t.Errorf("%s, as %s: %v", sql, role, err)
		}
	}
}
