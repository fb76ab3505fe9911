package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/trial"
)

// F13: the reply to a COMMIT is lost. The ledger is asked before anything is written again, and no call is repeated.
func TestCommitReplyLost(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	var commits, lost atomic.Int64
	s.proxy.obey(func(m message) fate {
		if m.committed() && commits.Add(1)%2 == 0 {
			lost.Add(1)
			return cut
		}
		return pass
	})
	s.finish("--concurrency", "1")
	reached(t, "replies to COMMIT were lost", lost.Load(), 1)
}

// F02, F04: killed at every request to the database and every reply in a batch's life, from the call to the reply to its
// COMMIT.
func TestKilledAtEveryRequestAndReply(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	var called, committed atomic.Bool
	var victim atomic.Pointer[os.Process]
	s.Each(func() { called.Store(true) })
	s.Joins, s.Leaves = func(it *os.Process) { victim.Store(it) }, func(*os.Process) {}
	kills := 0
	for n := int64(1); !committed.Load(); n++ {
		called.Store(false)
		var seen atomic.Int64
		s.proxy.obey(func(m message) fate {
			if !called.Load() || !m.ends() {
				return pass
			}
			at := seen.Add(1)
			if m.session.committed.Load() && at < n {
				committed.Store(true)
			}
			if at == n {
				victim.Load().Kill()
			}
			return pass
		})
		if code, _ := s.Run(s.args("--concurrency", "1")...); code == trial.Killed {
			kills++
		}
	}
	s.proxy.obey(nil)
	s.slack = 6 * kills // calls go on while results are recorded
	s.finish()
	reached(t, "processes were killed", int64(kills), 12)
}

// F12: a backend is terminated while results are copied into it.
func TestBackendTerminatedInMidCopy(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	var copies atomic.Int64
	s.proxy.obey(func(m message) fate {
		if m.asks("copy bulksub.records") && copies.Add(1)%3 == 1 {
			if _, err := s.db.Exec(context.Background(), `select pg_terminate_backend($1, 5000)`, int32(m.session.backend.Load())); err != nil {
				t.Error(err)
			}
		}
		return pass
	})
	s.finish("--concurrency", "1")
	reached(t, "sessions were ended", s.proxy.count("57P01"), 1)
}

// F11: the database crashes, and comes back.
func TestDatabaseCrashes(t *testing.T) {
	t.Parallel()
	s, cluster := clusterScene(t, trial.Final)
	var calls, crashes atomic.Int64
	s.Each(func() {
		if calls.Add(1)%6 == 0 {
			crashes.Add(1)
			if err := cluster.Restart(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	s.finish("--concurrency", "1")
	reached(t, "crashes", crashes.Load(), 3)
}

// F14: a connection becomes a black hole: with a COMMIT, with the reply to one, while nothing is under way, or in the middle
// of the results. The time-out of a commit is half a minute; the server ends the transaction of a session that has gone
// silent before.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	for name, falls := range map[string]func(message) bool{
		"commit":  message.commits,
		"reply":   message.committed,
		"begin":   func(m message) bool { return m.asks("begin") },
		"results": message.writes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, trial.Final)
			var seen, fell atomic.Int64
			s.proxy.obey(func(m message) fate {
				if falls(m) && seen.Add(1) == 3 {
					fell.Add(1)
					if m.writes() {
						return half
					}
					return stall
				}
				return pass
			})
			s.finish("--concurrency", "1")
			reached(t, "connections fell silent", fell.Load(), 1)
		})
	}
}

// F15: the primary is demoted in the middle of the job, and promoted again when that was noticed twice.
func TestReadOnlyPrimary(t *testing.T) {
	t.Parallel()
	s, _ := clusterScene(t, trial.Final)
	set := func(value string) {
		for _, sql := range []string{
			"set default_transaction_read_only = off", "alter system set default_transaction_read_only = " + value, "select pg_reload_conf()",
		} {
			if _, err := s.db.Exec(context.Background(), sql); err != nil {
				t.Error(err)
			}
		}
	}
	s.db.Config().MaxConns = 1
	s.atCall(10, func() { set("on") })
	s.whenTold("25006", 2, func() { set("off") })
	s.finish("--concurrency", "1")
	reached(t, "writes were refused", s.proxy.count("25006"), 2)
}

// F17: what a job needs is locked by somebody else, for longer than it may wait.
func TestLockTimeout(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	s.connect("lock_timeout=50ms")
	s.holdSegments("55P03")
	s.finish("--concurrency", "1")
	reached(t, "locks were waited for in vain", s.proxy.count("55P03"), 2)
}

// F18: a statement takes longer than it may.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	s.connect("statement_timeout=200ms")
	s.holdSegments("57014")
	s.finish("--concurrency", "1")
	reached(t, "statements were cancelled", s.proxy.count("57014"), 2)
}

// F07, F18: a process is silent in the middle of a transaction, as one is that is frozen: the server ends the transaction,
// and with it the locks that would keep others from taking over.
func TestSilentTransaction(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	var copies atomic.Int64
	told := s.whenTold("25P03", 1, func() {})
	s.proxy.obey(func(m message) fate {
		if m.asks("copy bulksub.records") && copies.Add(1) == 2 {
			<-told
		}
		return pass
	})
	s.finish("--concurrency", "1")
	reached(t, "sessions were ended", s.proxy.count("25P03"), 1)
}

// F17: a deadlock, in which the job is the victim.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	s.connect("deadlock_timeout=10ms")
	var copies atomic.Int64
	s.proxy.obey(func(m message) fate {
		if m.asks("copy bulksub.records") && copies.Add(1) == 2 {
			s.wantSegments()
		}
		return pass
	})
	s.finish("--concurrency", "1")
	reached(t, "deadlocks were broken", s.proxy.count("40P01"), 1)
}

// wantSegments locks the table of results, and then waits for the segments, until the job has given way.
func (s *scene) wantSegments() {
	ctx := context.Background()
	tx, err := s.db.Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, `set local deadlock_timeout = '1min'; lock table bulksub.records in share mode`)
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	ended := make(chan struct{})
	s.t.Cleanup(func() { <-ended })
	go func() {
		defer close(ended)
		if _, err := tx.Exec(ctx, `select from bulksub.segments for update`); err != nil {
			s.t.Error(err)
		}
		tx.Rollback(ctx)
	}()
	for waits := false; !waits && err == nil; {
		err = s.db.QueryRow(ctx, `select wait_event_type is not distinct from 'Lock' from pg_stat_activity where pid = $1`, tx.Conn().PgConn().PID()).Scan(&waits)
	}
}

// F17, F21: the server refuses to write, for a reason that passes: a trigger says so as often as it is told to.
func TestPassingRefusals(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"40001", "53100", "53200", "58030"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, trial.Final)
			s.exec(`create sequence trial.refusals;
				create function trial.refuse() returns trigger language plpgsql security definer as $$
				declare n bigint := nextval('trial.refusals');
				begin
					if n between 3 and 5 then raise exception 'refused' using errcode = '` + code + `'; end if;
					return null;
				end $$;
				create trigger refuse after insert on bulksub.records for each statement execute function trial.refuse()`)
			s.finish("--concurrency", "1")
			reached(t, "writes were refused", s.proxy.count(code), 3)
		})
	}
}

// F19: all sessions are lost in the middle of the job, and others have taken every place.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s, cluster := clusterScene(t, trial.Final, "max_connections=8", "superuser_reserved_connections=0")
	var crowd []*pgx.Conn
	s.atCall(10, func() {
		s.proxy.leadTo(nowhere)
		s.proxy.cutAll()
		for s.sessions() > 0 {
		}
		defer s.proxy.leadTo(cluster.URL("postgres"))
		for {
			conn, err := pgx.Connect(context.Background(), cluster.URL("postgres"))
			if err != nil {
				return
			}
			crowd = append(crowd, conn)
		}
	})
	s.whenTold("53300", 2, func() {
		for _, conn := range crowd {
			conn.Close(context.Background())
		}
	})
	s.slack = workers
	s.finish("--concurrency", "1")
	reached(t, "connections were refused", s.proxy.count("53300"), 2)
}

// sessions counts those that the server has of the program.
func (s *scene) sessions() (n int) {
	if err := s.db.QueryRow(context.Background(), `select count(*) from pg_stat_activity where application_name like 'run %'`).Scan(&n); err != nil {
		s.t.Error(err)
	}
	return n
}

// F16: failover to a standby that has missed the last commits. The run does not take for done what was lost, and does it
// again; the service knows it already.
func TestFailoverLosesCommits(t *testing.T) {
	t.Parallel()
	s, cluster := clusterScene(t, trial.Mixed)
	var standby *pgcluster.Cluster
	var before, after int64
	s.atCall(6, func() {
		var err error
		if standby, err = cluster.Copy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.atCall(16, func() {
		before = s.recorded()
		s.db.Close()
		db, err := pgxpool.New(context.Background(), standby.URL("postgres"))
		if err != nil {
			t.Error(err)
			return
		}
		s.db = db
		after = s.recorded()
		s.proxy.leadTo(standby.URL("postgres"))
		cluster.Stop()
	})
	s.finish("--concurrency", "1")
	s.db.Close()
	standby.Stop()
	reached(t, "results were lost", before-after, 1)
}

// recorded counts the results.
func (s *scene) recorded() (n int64) {
	if err := s.db.QueryRow(context.Background(), `select count(*) from bulksub.rows`).Scan(&n); err != nil {
		s.t.Error(err)
	}
	return n
}

// F21: the disk with the results is full, until somebody makes room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s, cluster := clusterScene(t, trial.Final)
	room := s.smallDisk(cluster)
	if room == nil {
		room = s.fullDevice()
	}
	s.whenTold("53100", 2, room)
	s.finish("--concurrency", "1")
	reached(t, "writes found no room", s.proxy.count("53100"), 2)
}

// smallDisk puts the results on a file system of half a megabyte. It returns what makes room there, or nil where nothing
// may be mounted.
func (s *scene) smallDisk(cluster *pgcluster.Cluster) (room func()) {
	dir, err := os.MkdirTemp("/tmp", "bulksub-disk-")
	must(s.t, err)
	s.t.Cleanup(func() { os.Remove(dir) })
	_, owner := s.dataDirectory()
	options := fmt.Sprintf("size=512k,mode=0700,uid=%d,gid=%d", owner.Uid, owner.Gid)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		s.t.Logf("nothing can be mounted here: %v: %s", err, out)
		return nil
	}
	s.t.Cleanup(func() {
		cluster.Stop()
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			s.t.Errorf("%v: %s", err, out)
		}
	})
	s.exec(`create tablespace small location '` + dir + `'`)
	s.exec(`alter table bulksub.records set tablespace small`)
	return func() {
		if out, err := exec.Command("mount", "-o", "remount,size=64m", dir).CombinedOutput(); err != nil {
			s.t.Errorf("%v: %s", err, out)
		}
	}
}

// fullDevice puts the results, of which there are none yet, on the device that is always full. It returns what gives them
// a file again.
func (s *scene) fullDevice() (room func()) {
	data, owner := s.dataDirectory()
	var file string
	must(s.t, s.db.QueryRow(s.t.Context(), `select pg_relation_filepath('bulksub.records')`).Scan(&file))
	file = filepath.Join(data, file)
	must(s.t, os.Remove(file))
	must(s.t, os.Symlink("/dev/full", file))
	return func() {
		err := errors.Join(os.Remove(file), os.WriteFile(file, nil, 0o600), os.Chown(file, int(owner.Uid), int(owner.Gid)))
		if err != nil {
			s.t.Error(err)
		}
		// Each session has the device open.
		if _, err := s.db.Exec(context.Background(), `
			select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`); err != nil {
			s.t.Error(err)
		}
	}
}

// dataDirectory is the server's, and its owner.
func (s *scene) dataDirectory() (string, *syscall.Stat_t) {
	s.t.Helper()
	var dir string
	must(s.t, s.db.QueryRow(s.t.Context(), `show data_directory`).Scan(&dir))
	info, err := os.Stat(dir)
	must(s.t, err)
	return dir, info.Sys().(*syscall.Stat_t)
}

// F22: a second session changes the table in the middle of the job. The job stops and says what; a prune that was asked for
// has not begun.
func TestTableChangesMidway(t *testing.T) {
	t.Parallel()
	for sql, says := range map[string]string{
		`alter table users rename to people`:               `"users"`,
		`alter table users rename column token to address`: `t.token`,
		`revoke all on users from worker`:                  `grant`,
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			s, _ := clusterScene(t, trial.Final)
			s.exec(`create role worker login; grant usage on schema bulksub to worker;
				grant all on all tables in schema bulksub to worker; grant all on users to worker;
				insert into users select n, 'token-' || n from generate_series(10001, 200000) n`)
			s.Env = []string{"DATABASE_URL=" + s.proxy.url("worker")}
			s.atCall(5, func() {
				if _, err := s.db.Exec(context.Background(), sql); err != nil {
					t.Error(err)
				}
			})
			code, last := s.Run(s.args("--prune", "delete")...)
			if code != 65 || !strings.Contains(last.Words, says) {
				t.Errorf("ended with %d: %s", code, last.Words)
			}
			var pruned int
			must(t, s.db.QueryRow(t.Context(), `select count(*) from bulksub.pruned`).Scan(&pruned))
			if pruned > 0 || s.recorded() == 0 {
				t.Errorf("%d rows are pruned, %d recorded", pruned, s.recorded())
			}
		})
	}
}
