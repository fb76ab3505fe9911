//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/trial"
	"github.com/bulksub/bulksub/migrations"
)

// chaos does harm to processes that work on one job at a low rate, at calls of its choice. When
// all harm is done it has them go on without a ceiling.
type chaos struct {
	t       *testing.T
	cluster *pgcluster.Cluster
	pool    *pgxpool.Pool
	peak    func() int

	mu      sync.Mutex
	random  *rand.Rand
	calls   int
	running map[*os.Process]bool
	killed  int
	frozen  *os.Process // nil: none yet, or none any more
	thawed  int         // the call at which it was woken
	most    int         // token operations in a second, when all harm was done
	over    bool
}

const (
	freezeAt  = 3  // the call at which a process is frozen
	restartAt = 12 // the database is restarted
	aftermath = 8  // calls after the frozen one was woken
)

// rate is what a process that starts now may send.
func (c *chaos) rate() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return "0"
	}
	return fmt.Sprint(calmRate)
}

func (c *chaos) join(it *os.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[it] = true
}

// restarted waits until the database is there again.
func (c *chaos) restarted() {
	c.mu.Lock()
	defer c.mu.Unlock()
}

func (c *chaos) leave(it *os.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, it)
}

// harm is called at every call.
func (c *chaos) harm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	switch c.calls++; c.calls {
	case freezeAt:
		c.frozen = c.holder()
		c.frozen.Signal(syscall.SIGSTOP)
	case restartAt:
		if err := c.cluster.Restart(context.Background()); err != nil {
			c.t.Error(err)
		}
	default:
		c.kill()
	}
	switch {
	case c.frozen != nil && !c.holds(c.frozen):
		c.frozen.Signal(syscall.SIGCONT)
		c.frozen, c.thawed = nil, c.calls
	case c.thawed > 0 && c.calls > c.thawed+aftermath:
		c.most, c.over = c.peak(), true
		for it := range c.running {
			it.Kill()
		}
	}
}

// holder is a process that holds a segment.
func (c *chaos) holder() *os.Process {
	for it := range c.running {
		if c.holds(it) {
			return it
		}
	}
	c.t.Error("no process holds a segment")
	return nil
}

// holds reports whether a process holds a segment, or may do so while the database
// cannot be asked.
func (c *chaos) holds(it *os.Process) bool {
	var held bool
	err := c.pool.QueryRow(context.Background(), `select exists (select from bulksub.segments where not done and owner is not null and process ~ $1)`,
		fmt.Sprintf(` %d\M`, it.Pid)).Scan(&held)
	return held || err != nil
}

// kill kills a process that is not frozen, if there is one.
func (c *chaos) kill() {
	var victims []*os.Process
	for it := range c.running {
		if it != c.frozen {
			victims = append(victims, it)
		}
	}
	if len(victims) > 0 {
		victims[c.random.IntN(len(victims))].Kill()
		c.killed++
	}
}

// TestProcessesInChaos: four processes on one job, killed over and over and started
// again, one of them frozen until others have taken its segment over, and the database
// restarted: every row has one result, which the process has written that held its segment then, the service
// knows the same, and no second sees more than the rate and one batch (P2, P5, P9, P12).
func TestProcessesInChaos(t *testing.T) {
	t.Parallel()
	const rows, processes = 220_000, 4
	cluster, err := pgcluster.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Stop()
	pool, err := pgxpool.New(t.Context(), cluster.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := migrations.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	trial.Watch(t, pool)
	fillTable(t, pool, rows)
	p := newProgram(t, scriptFate)
	c := &chaos{t: t, cluster: cluster, pool: pool, peak: func() int { return p.Service.PeakOps(time.Second) }, random: rand.New(rand.NewPCG(1, 2)), running: make(map[*os.Process]bool)}
	p.Joins, p.Leaves = c.join, c.leave
	p.Each(c.harm)
	var all sync.WaitGroup
	for range processes {
		all.Go(func() {
			away := 0
			for code := -1; code == -1 || code == exitUnavailable && away == 1; {
				code, _ = p.run("subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", c.rate(), "--attempts", "2",
					"--concurrency", "4", "--database-url", cluster.URL("postgres"))
				switch code {
				case -1, exitFailedRows:
				case exitUnavailable: // it had come while the database was away
					c.restarted()
					away++
				default:
					t.Errorf("a process ended with %d", code)
				}
			}
			if away > 1 {
				t.Error("a process found no database, and there was one")
			}
		})
	}
	all.Wait()
	if c.killed < 10 || !c.over {
		t.Fatalf("%d were killed, woken at call %d: this proves nothing", c.killed, c.thawed)
	}
	if c.most > calmRate+1000 {
		t.Errorf("%d token operations within a second", c.most)
	}
	got, err := sqlLines(pool, "it")
	if err != nil {
		t.Fatal(err)
	}
	if diff := disagreement(p.Service, "news", got, rows); diff != "" {
		t.Error(diff)
	}
	if found, err := trial.Violations(t.Context(), pool); err != nil || len(found) > 0 {
		t.Errorf("%q, %v", found, err)
	}
}
