package faults

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/trial"
)

// F25: the URL names a standby as well, which lags behind by half of the rows and some tokens, and is all that there is for
// a while. Nothing is read of it: a page that ended too early would be the end of the table, and an old token would be
// judged in the place of the new one.
func TestStandbyLags(t *testing.T) {
	t.Parallel()
	s, cluster := clusterScene(t, trial.Mixed)
	s.exec(`create table later as select * from users where id > 5000;
		delete from users where id > 5000; update users set token = 'old-' || token where id <= 100`)
	standby, err := cluster.Standby(t.Context())
	must(t, err)
	t.Cleanup(standby.Stop)
	behind, err := pgxpool.New(t.Context(), standby.URL("postgres"))
	must(t, err)
	t.Cleanup(behind.Close)
	_, err = behind.Exec(t.Context(), `select pg_wal_replay_pause()`)
	must(t, err)
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
