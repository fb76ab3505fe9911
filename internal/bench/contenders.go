package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// contender is one way to subscribe the tokens of a table, or of a file.
type contender struct {
	name    string
	callers int // calls at a time
	command func(s *stage, callers, rows int) *exec.Cmd
}

// beside is the contender that the others are compared with, by its index.
const beside = 5

var contenders = []contender{
	{"bulksub, Postgres to Postgres", 16, ours("--table", "bench")},
	{"bulksub, Postgres to Postgres", 100, ours("--table", "bench")},
	{"bulksub, CSV to Postgres", 16, ours("--csv", "tokens.csv")},
	{"bulksub, CSV to CSV", 16, ours("--csv", "tokens.csv", "--results", "results.csv")},
	{"Go SDK, a plain loop", 1, sdk},
	{"Go SDK, goroutines", 16, sdk},
	{"Go SDK, goroutines", 100, sdk},
}

// ours is bulksub with these arguments.
func ours(args ...string) func(*stage, int, int) *exec.Cmd {
	return func(s *stage, callers, _ int) *exec.Cmd {
		all := append([]string{"subscribe", "--topic", "bench", "--rate", "0", "--quiet", "--json", "--concurrency", strconv.Itoa(callers),
			"--endpoint", s.endpoint, "--credentials", s.path("emulator.json")}, args...)
		if args[len(args)-1] != "results.csv" {
			all = append(all, "--database-url", s.url())
		}
		return exec.Command(s.program, all...)
	}
}

// sdk is this binary, as one who uses the SDK.
func sdk(s *stage, callers, rows int) *exec.Cmd {
	return s.role("sdk", callers, rows)
}

// spent is what a run has taken: CPU of its own process in µs a token, memory in MiB.
type spent struct{ rate, cpu, memory float64 }

// longest is about how long a contender may wait for the service: a plain loop is measured with fewer tokens.
const longest = 15 * time.Second

// rows is how many tokens the contender subscribes.
func (c contender) rows(s *stage, latency time.Duration) int {
	if c.callers > 1 || latency == 0 {
		return s.rows
	}
	return min(s.rows, int(longest/latency)*perCall)
}

// measure runs the contender, which says how many were subscribed, in a database as it was, with services of its own.
func (c contender) measure(s *stage, latency time.Duration) (spent, error) {
	if err := s.reset(latency); err != nil {
		return spent{}, err
	}
	defer s.stopServices()
	rows := c.rows(s, latency)
	cmd := c.command(s, c.callers, rows)
	cmd.Dir, cmd.Stderr = s.dir, os.Stderr
	began := time.Now()
	out, err := cmd.Output()
	took := time.Since(began)
	if err != nil {
		return spent{}, fmt.Errorf("%w: %s", err, out)
	}
	var said struct{ OK int }
	if err := json.Unmarshal(out, &said); err != nil || said.OK != rows {
		return spent{}, fmt.Errorf("subscribed %d of %d: %v: %s", said.OK, rows, err, out)
	}
	used := cmd.ProcessState
	return spent{
		rate:   float64(rows) / took.Seconds(),
		cpu:    float64((used.UserTime() + used.SystemTime()).Microseconds()) / float64(rows),
		memory: float64(used.SysUsage().(*syscall.Rusage).Maxrss) / 1024,
	}, nil
}
