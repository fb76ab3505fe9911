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
	"github.com/bulksub/bulksub/migrations"
)

// chaos does harm to processes that work on one job, at calls of its choice.
type chaos struct {
	t       *testing.T
	cluster *pgcluster.Cluster
	pool    *pgxpool.Pool

	mu      sync.Mutex
	random  *rand.Rand
	calls   int
	running map[*os.Process]bool
	killed  int
	frozen  *os.Process // nil: none yet, or none any more
	thawed  bool
}

const (
	freezeAt  = 20 // the call at which a process is frozen
	restartAt = 60 // the database is restarted
	killEvery = 9  // a process is killed
)

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
	c.calls++
	switch {
	case c.calls == freezeAt:
		c.frozen = c.holder()
		c.frozen.Signal(syscall.SIGSTOP)
	case c.calls == restartAt:
		if err := c.cluster.Restart(context.Background()); err != nil {
			c.t.Error(err)
		}
	case c.calls%killEvery == 0:
		c.kill()
	}
	if c.frozen != nil && c.calls > freezeAt && !c.holds(c.frozen) {
		c.frozen.Signal(syscall.SIGCONT)
		c.frozen, c.thawed = nil, true
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
// restarted: every row has one result, the service knows the same, and the rate
// holds (P2, P5, P9, P12).
func TestProcessesInChaos(t *testing.T) {
	t.Parallel()
	const rows, rate, processes = 220_000, 25_000, 4
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
	fillTable(t, pool, rows)
	p := newProgram(t, scriptFate)
	c := &chaos{t: t, cluster: cluster, pool: pool, random: rand.New(rand.NewPCG(1, 2)), running: make(map[*os.Process]bool)}
	p.Joins, p.Leaves = c.join, c.leave
	p.Each(c.harm)
	var all sync.WaitGroup
	for range processes {
		all.Go(func() {
			away := 0
			for code := -1; code == -1 || code == exitUnavailable && away == 1; {
				code, _ = p.run("subscribe", "--topic", "news", "--table", "users", "--job", "it", "--rate", fmt.Sprint(rate), "--attempts", "2",
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
	if c.killed < 10 || !c.thawed {
		t.Fatalf("%d were killed, thawed: %v: this proves nothing", c.killed, c.thawed)
	}
	if most := p.Service.PeakOps(time.Second); most > rate+processes*1000 {
		t.Errorf("%d token operations within a second", most)
	}
	got, err := sqlLines(pool, "it")
	if err != nil {
		t.Fatal(err)
	}
	if diff := disagreement(p.Service, "news", got, rows); diff != "" {
		t.Error(diff)
	}
}
