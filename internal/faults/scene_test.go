package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/trial"
	"github.com/bulksub/bulksub/migrations"
)

// The job of most tests: twenty batches in one segment.
const (
	rows    = 10_000
	batch   = 500
	batches = rows / batch
	workers = 4
)

// latency is long enough that most replies are recorded one by one.
var latency = iidtest.Latency{Fixed: 20 * time.Millisecond}

// scene is a job from a table into the ledger, with a proxy before the database.
type scene struct {
	*trial.Program
	t     testing.TB
	mix   iidtest.Mix
	db    *pgxpool.Pool // past the proxy
	proxy *proxy
	due   map[int64]func() // what is done at a call
	calls atomic.Int64
	slack int // calls that the faults of this test may cost
}

// newScene is on a database of the test's own, in the server that all share.
func newScene(t testing.TB, mix iidtest.Mix) *scene { return sceneOn(t, mix, pgtest.New(t)) }

// clusterScene is on a server of its own.
func clusterScene(t testing.TB, mix iidtest.Mix, settings ...string) (*scene, *pgcluster.Cluster) {
	t.Helper()
	cluster, err := pgcluster.Start(t.Context(), settings...)
	must(t, err)
	t.Cleanup(cluster.Stop)
	pool, err := pgxpool.New(t.Context(), cluster.URL("postgres"))
	must(t, err)
	t.Cleanup(pool.Close)
	_, err = migrations.Migrate(t.Context(), pool)
	must(t, err)
	return sceneOn(t, mix, pool), cluster
}

func sceneOn(t testing.TB, mix iidtest.Mix, db *pgxpool.Pool) *scene {
	t.Helper()
	trial.Watch(t, db)
	trial.FillTable(t, db, rows)
	s := &scene{Program: trial.New(t, iidtest.Config{Fates: mix.Fate, Latency: latency}), t: t, mix: mix, db: db, proxy: newProxy(t, db.Config().ConnString()), due: make(map[int64]func())}
	s.connect()
	return s
}

// connect gives the program the way through the proxy, with settings for its sessions.
func (s *scene) connect(settings ...string) {
	s.Env = []string{"DATABASE_URL=" + s.proxy.url("", settings...)}
}

// args are the command line of the job.
func (s *scene) args(more ...string) []string {
	return append([]string{"subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", "0",
		"--concurrency", fmt.Sprint(workers), "--batch-size", fmt.Sprint(batch), "--attempts", "2"}, more...)
}

// atCall has something done at the nth call of the job, whichever process makes it, besides what is done at others.
func (s *scene) atCall(n int64, do func()) {
	s.due[n] = do
	s.Each(func() {
		if do := s.due[s.calls.Add(1)]; do != nil {
			do()
		}
	})
}

// finish runs the job, judges it, and expects that no call was made twice but for slack.
func (s *scene) finish(more ...string) {
	s.t.Helper()
	code, last := s.Run(s.args(more...)...)
	if s.t.Failed() {
		s.t.Log(last.Words)
	}
	s.judge(code, last)
}

func (s *scene) judge(code int, last trial.Summary) {
	s.t.Helper()
	c := trial.Case{Program: s.Program, DB: s.db, Job: "it", Topic: "news", Rows: rows, Mix: s.mix, Peak: 96 << 10, Files: 40}
	if s.mix == trial.Final {
		c.Batch, c.Calls = batch, batches+s.slack
	}
	c.Judge(s.t, code, last)
	if s.t.Failed() {
		s.t.Log(last.Words)
	}
}

// tool runs a command that is no job, and returns all that it says, in which only results may hold whole tokens.
func (s *scene) tool(args ...string) (string, error) {
	s.t.Helper()
	cmd := exec.Command("bulksub", args...)
	cmd.Env = append(append(os.Environ(), trial.Environment), s.Env...)
	out, err := cmd.CombinedOutput()
	if leak := trial.Leak(string(out)); leak != "" && !slices.Contains(args, "results") {
		s.t.Errorf("%v shows %s", args, leak)
	}
	return string(out), err
}

func (s *scene) exec(sql string) {
	s.t.Helper()
	_, err := s.db.Exec(s.t.Context(), sql)
	must(s.t, err)
}

// roles makes the roles of deploy/roles.sql.
func (s *scene) roles() {
	s.t.Helper()
	text, err := os.ReadFile("../../deploy/roles.sql")
	must(s.t, err)
	s.exec(string(text))
}

// whenTold does something, beside the program, when it has been told an error that many times. The channel closes then.
func (s *scene) whenTold(code string, times int, do func()) <-chan struct{} {
	told := s.proxy.told(code, times)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-told:
			do()
		case <-s.t.Context().Done():
		}
	}()
	s.t.Cleanup(func() { <-done })
	return told
}

// holdSegments locks the job's segments at its fifth call, until the program has been told of it twice.
func (s *scene) holdSegments(code string) {
	release := make(chan struct{})
	s.atCall(5, func() {
		tx, err := s.db.Begin(context.Background())
		if err == nil {
			_, err = tx.Exec(context.Background(), `select from bulksub.segments for update`)
		}
		if err != nil {
			s.t.Error(err)
			return
		}
		go func() {
			select {
			case <-release:
			case <-s.t.Context().Done():
			}
			tx.Rollback(context.Background())
		}()
	})
	s.whenTold(code, 2, func() { close(release) })
}

// reached fails a test whose fault did not happen often enough.
func reached[N int | int64](t testing.TB, what string, n, least N) {
	t.Helper()
	if n < least {
		t.Fatalf("%d %s, fewer than %d: this proves nothing", n, what, least)
	}
}
