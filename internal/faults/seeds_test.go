package faults

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/trial"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed of TestSeeds")
	seeds     = flag.Int("seeds", 3, "how many seeds TestSeeds tries")
)

// storm does harm to the processes of one job: what, to whom and when is drawn from a seed, call by call.
type storm struct {
	*scene
	cluster *pgcluster.Cluster
	pooler  *pgtest.Pooler // nil: none

	mu      sync.Mutex
	random  *rand.Rand
	running []*os.Process
	done    map[string]int
	calm    int // calls until the next harm
	left    int // harms that are left
}

// TestSeeds: two processes, killed, frozen and thawed at random; sessions cut, commits whose reply is lost, the database
// restarted; calls that fail in every way: and in the end all is as it must be (F01, I1 to I15). Every third storm goes
// through PgBouncer (F20). `make test-faults SEED=n` plays one seed again.
func TestSeeds(t *testing.T) {
	t.Parallel()
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s, cluster := clusterScene(t, trial.Mixed)
			s.roles()
			s.exec(`create role worker login in role bulksub_writer; grant select on users to worker`)
			storm := &storm{scene: s, cluster: cluster, random: rand.New(rand.NewPCG(seed, 0)), done: make(map[string]int), left: 12}
			if seed%3 == 0 {
				storm.pooler = s.throughPgBouncer("worker")
			}
			storm.blow()
		})
	}
}

// faultsOfCalls are those that a storm draws from, each for a share of the calls: all but 429, which slows the job down for minutes.
var faultsOfCalls = []string{
	"503", "reset", "applied-reset", "short-list", "long-list", "null-item", "number-error", "empty-object", "502-html", "html",
	"truncated+100", "trailing-comma", "duplicate-key", "bad-utf8", "500-empty", "error-200", "unknown-field", "408-empty", "slow+50ms",
}

func (s *storm) blow() {
	s.Env = []string{"DATABASE_URL=" + s.proxy.url("worker")}
	var texts []string
	for i, name := range faultsOfCalls {
		if s.random.IntN(3) == 0 {
			texts = append(texts, fmt.Sprintf("%s=%d%%#%d", name, 1+s.random.IntN(6), s.random.Uint64()+uint64(i)))
		}
	}
	s.Faults(texts...)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("faults of calls: %v; harms: %v", texts, s.done)
		}
	})
	s.Joins, s.Leaves = s.join, s.leave
	s.Each(s.harm)
	s.proxy.obey(s.meddle)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for code := trial.Killed; code == trial.Killed; {
				code, _ = s.Run(s.args("--attempts", "3")...)
			}
		})
	}
	all.Wait()
	s.Each(func() {})
	s.Faults()
	s.proxy.obey(nil)
	if s.pooler != nil {
		reached(s.t, "clients came to PgBouncer", s.pooler.Clients(s.t), 2)
		s.pooler.Await(s.t)
	}
	code, last := 75, trial.Summary{}
	for range 3 { // a failed row is asked about again; a segment may still be locked by a backend that is about to go
		if code, last = s.Run(s.args("--attempts", "3")...); code != 75 {
			break
		}
	}
	s.db.Reset() // its sessions may have ended with the server
	s.judge(code, last)
	harms := 0
	for _, n := range s.done {
		harms += n
	}
	reached(s.t, fmt.Sprintf("harms (%v)", s.done), harms, 3)
}

func (s *storm) join(it *os.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, it)
}

func (s *storm) leave(it *os.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.running {
		if other == it {
			s.running = append(s.running[:i], s.running[i+1:]...)
			return
		}
	}
}

// strikes reports whether the next harm is due.
func (s *storm) strikes() bool {
	s.calm--
	if s.left == 0 || s.calm > 0 {
		return false
	}
	s.calm = 1 + s.random.IntN(6)
	s.left--
	return true
}

// harm is called at every call.
func (s *storm) harm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.running) == 0 || !s.strikes() {
		return
	}
	it := s.running[s.random.IntN(len(s.running))]
	switch what := []string{"killed", "frozen", "cut", "terminated", "restarted", "lost"}[s.random.IntN(6)]; what {
	case "killed":
		it.Kill()
		s.done[what]++
	case "frozen":
		it.Signal(syscall.SIGSTOP)
		time.AfterFunc(time.Duration(s.random.IntN(1500))*time.Millisecond, func() { it.Signal(syscall.SIGCONT) })
		s.done[what]++
	case "cut":
		s.proxy.cutAll()
		s.done[what]++
	case "terminated":
		s.db.Exec(context.Background(), `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'worker'`)
		s.done[what]++
	case "restarted":
		if err := s.cluster.Restart(context.Background()); err != nil {
			s.t.Error(err)
		}
		s.done[what]++
	case "lost":
		s.done["to be lost"]++
	}
}

// meddle loses replies to COMMIT, one for each that is due.
func (s *storm) meddle(m message) fate {
	if !m.committed() {
		return pass
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done["lost"] >= s.done["to be lost"] {
		return pass
	}
	s.done["lost"]++
	return cut
}
