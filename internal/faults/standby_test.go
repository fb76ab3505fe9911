package faults

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/trial"
)

// standbyOf is a standby that follows the scene's cluster, and a way into it.
func (s *scene) standbyOf(cluster *pgcluster.Cluster) (*pgcluster.Cluster, *pgxpool.Pool) {
	t := s.t
	t.Helper()
	standby, err := cluster.Standby(t.Context())
	must(t, err)
	t.Cleanup(standby.Stop)
	pool, err := pgxpool.New(t.Context(), standby.URL("postgres"))
	must(t, err)
	t.Cleanup(pool.Close)
	s.exec(`do $$ begin
		while not exists (select from pg_stat_replication where replay_lsn is not null) loop
			perform pg_stat_clear_snapshot(), pg_sleep(0.01);
		end loop;
	end $$`)
	return standby, pool
}

// F25: the URL names a standby as well, which lags behind by half of the rows and some tokens, and is all that there is for
// a while. Nothing is read of it: a page that ended too early would be the end of the table, and an old token would be
// judged in the place of the new one.
func TestStandbyLags(t *testing.T) {
	t.Parallel()
	s, cluster := clusterScene(t, trial.Mixed)
	s.exec(`create table later as select * from users where id > 5000;
		delete from users where id > 5000; update users set token = 'old-' || token where id <= 100`)
	standby, behind := s.standbyOf(cluster)
	pauseReplay(t, behind)
	s.exec(`insert into users table later; update users set token = replace(token, 'old-', '') where id <= 100`)

	second := newProxy(t, standby.URL("postgres"))
	var claimed atomic.Bool
	var away sync.Once
	s.proxy.obey(func(m message) fate {
		falls := pass
		if m.asks("insert into bulksub.segments") {
			claimed.Store(true)
		}
		if claimed.Load() && m.asks("limit 5000") {
			away.Do(func() {
				falls = cut
				s.proxy.leadTo(nowhere)
				s.proxy.cutAll()
			})
		}
		return falls
	})
	var asked atomic.Int64
	second.obey(func(m message) fate {
		if m.asks("") && asked.Add(1) == 3 {
			s.proxy.leadTo(cluster.URL("postgres"))
		}
		return pass
	})
	first := s.proxy.listener.Addr().String()
	s.Env = []string{"DATABASE_URL=" + strings.Replace(s.proxy.url(""), first, first+","+second.listener.Addr().String(), 1)}
	s.finish("--prune", "delete")
	var lag int64
	must(t, behind.QueryRow(t.Context(), `select $1 - count(*) from users where token not like 'old-%'`, rows).Scan(&lag))
	reached(t, "rows were behind on the standby", lag, 5100)
	reached(t, "statements came to the standby", asked.Load(), 3)
	s.refusesStandby(second.url(""))
}

// progress is how far a job is when its prune waits.
type progress struct{ Calls, Results, Pruned, Left int64 }

// F25: a standby has stopped replaying before the job begins, and does so again in the middle of its prune. The job makes
// all its calls and records all results meanwhile; the prune stands still each time until the standby goes on.
func TestPruneWaitsForAStandby(t *testing.T) {
	t.Parallel()
	s, cluster := clusterScene(t, iidtest.Mix{Dead: 0.15}, "wal_receiver_status_interval=1s")
	s.roles()
	s.exec(`create role pruner login in role bulksub_pruner; grant select, delete on users to pruner`)
	s.Env = []string{"DATABASE_URL=" + s.proxy.url("pruner")}
	args := []string{"--prune", "delete", "--prune-lag", "1"}
	if code, last := s.Run(s.args(args...)...); code != 65 || !strings.Contains(last.Words, "grant pg_read_all_stats") {
		t.Errorf("a user who may not see standbys ended with %d: %s", code, last.Words)
	}
	s.exec(`grant pg_read_all_stats to pruner`)

	_, behind := s.standbyOf(cluster)
	do := func(db *pgxpool.Pool, sql string) {
		if _, err := db.Exec(context.Background(), sql); err != nil {
			t.Error(err)
		}
	}
	fallBehind := func() {
		pauseReplay(t, behind)
		for seen := false; !seen; { // a standby that connects again is not there for a while
			do(s.db, `select pg_logical_emit_message(true, '', repeat('x', 2 << 20))`)
			err := s.db.QueryRow(context.Background(), `
				select exists (select from pg_stat_replication where pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) > 1 << 20) from pg_sleep(0.05)`).Scan(&seen)
			if err != nil {
				t.Error(err)
				return
			}
		}
	}
	var calls atomic.Int64
	s.Each(func() { calls.Add(1) })
	var mu sync.Mutex
	var waits []progress
	var looks, chunks int
	s.proxy.obey(func(m message) fate {
		mu.Lock()
		defer mu.Unlock()
		if m.asks("insert into bulksub.pruned") {
			if chunks++; chunks == 1 {
				fallBehind()
				looks = 0
			}
		}
		if m.asks("from pg_stat_replication") {
			if looks++; looks == 3 { // one to find out whether it may look, one that has seen the lag, and it waits
				at := progress{Calls: calls.Load()}
				if err := s.db.QueryRow(context.Background(), `
					select (select count(*) from bulksub.rows), (select count(*) from bulksub.pruned), (select count(*) from users)`,
				).Scan(&at.Results, &at.Pruned, &at.Left); err != nil {
					t.Error(err)
				}
				waits = append(waits, at)
				do(behind, `select pg_wal_replay_resume()`)
			}
		}
		return pass
	})
	fallBehind()
	code, last := s.Run(s.args(args...)...)
	s.judge(code, last)
	if want := []progress{{batches, rows, 0, rows}, {batches, rows, 1000, rows - 1000}}; !slices.Equal(waits, want) {
		t.Errorf("the prune has waited at %v, want %v", waits, want)
	}
	if last.Pruned != last.NotFound || last.Pruned <= 1000 || strings.Count(last.Words, "the prune waits") != 1 {
		t.Errorf("%d pruned of %d: %s", last.Pruned, last.NotFound, last.Words)
	}

	s.connect()
	if out, err := s.tool("unprune", "it"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	fallBehind()
	mu.Lock()
	looks = 0
	mu.Unlock()
	out, err := s.tool("prune", "it", "--prune-lag", "1")
	if err != nil || len(waits) != 3 || waits[2].Left != rows || strings.Count(out, "the prune waits") != 1 {
		t.Errorf("bulksub prune has waited at %v: %v: %s", waits, err, out)
	}
}

// A database that is only a standby is refused by name, unless the URL says that it will do.
func (s *scene) refusesStandby(address string) {
	s.t.Helper()
	s.Env = []string{"DATABASE_URL=" + address}
	if code, last := s.Run(s.args()...); code != 69 || !strings.Contains(last.Words, "standby") {
		s.t.Errorf("a job on a standby ended with %d: %s", code, last.Words)
	}
	s.Env = []string{"DATABASE_URL=" + address + "&target_session_attrs=any"}
	if out, err := s.tool("jobs", "list"); err != nil {
		s.t.Errorf("a look at a standby: %v: %s", err, out)
	}
}

// pauseReplay returns when the standby replays nothing more: it is asked to, and obeys a little later.
func pauseReplay(t *testing.T, standby *pgxpool.Pool) {
	t.Helper()
	_, err := standby.Exec(context.Background(), `select pg_wal_replay_pause()`)
	for paused := false; err == nil && !paused; {
		err = standby.QueryRow(context.Background(), `select pg_get_wal_replay_pause_state() = 'paused' from pg_sleep(0.01)`).Scan(&paused)
	}
	if err != nil {
		t.Error(err)
	}
}
