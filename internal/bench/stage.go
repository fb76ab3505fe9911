package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bulksub/bulksub/internal/pgcluster"
)

// perCall is the most that a call takes.
const perCall = 1000

// stage is what all contenders use: a PostgreSQL with a table of tokens, a CSV of the same, and services.
type stage struct {
	rows     int
	dir      string
	program  string
	cluster  *pgcluster.Cluster
	standIn  *exec.Cmd
	forgets  *exec.Cmd
	endpoint string
	// remembers has the stand-in answer the calls: one with a quota, or which are to be counted.
	remembers bool
	quota     int // token operations a second that the stand-in takes; 0: any number
}

// build builds the program, and fills the database and, if there is to be one, the file.
func build(ctx context.Context, rows int, file bool) (s *stage, err error) {
	s = &stage{rows: rows}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "bulksub-bench-"); err != nil {
		return s, err
	}
	s.program = s.path("bulksub")
	cmd := exec.Command("go", "build", "-C", "../..", "-trimpath", "-ldflags", "-s -w", "-o", s.program, "./cmd/bulksub")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return s, fmt.Errorf("%w: %s", err, out)
	}
	if s.cluster, err = pgcluster.Start(ctx); err != nil {
		return s, err
	}
	if err := s.role("fill", 0, rows).Run(); err != nil || !file {
		return s, err
	}
	return s, s.role("csv", 0, rows).Run()
}

func (s *stage) close() {
	s.stopServices()
	if s.cluster != nil {
		s.cluster.Stop()
	}
	os.RemoveAll(s.dir)
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) url() string { return s.cluster.URL("postgres") }

// reset makes everything as it was before the first contender, and waits until the disk has what was written.
func (s *stage) reset(latency time.Duration) error {
	for _, sql := range []string{
		`truncate bulksub.jobs, bulksub.segments, bulksub.records, bulksub.budgets, done, floor cascade`,
		`checkpoint`,
	} {
		if err := do(context.Background(), s.url(), sql); err != nil {
			return err
		}
	}
	results, _ := filepath.Glob(s.path("results.csv*"))
	for _, path := range results {
		os.Remove(path)
	}
	syscall.Sync()
	return s.startServices(latency)
}

// startServices starts a stand-in, which hands out access tokens, and unless it is to answer the calls too, a
// service that forgets.
func (s *stage) startServices(latency time.Duration) error {
	s.standIn = exec.Command(s.program, "emulator", "--listen", "127.0.0.1:0", "--any-bearer", "--write-credentials", s.path("emulator.json"),
		"--latency", latency.String(), "--quota", strconv.Itoa(s.quota))
	line, err := firstLine(s.standIn)
	if err != nil {
		return fmt.Errorf("the stand-in: %w", err)
	}
	var found bool
	if s.endpoint, _, found = strings.Cut(strings.TrimPrefix(line, "listening at "), ";"); !found {
		return fmt.Errorf("the stand-in says %q", line)
	}
	if s.remembers {
		return nil
	}
	s.forgets = s.role("service", 0, 0)
	s.forgets.Env = append(s.forgets.Env, "BENCH_LATENCY="+latency.String())
	if s.endpoint, err = firstLine(s.forgets); err != nil {
		return fmt.Errorf("the service: %w", err)
	}
	return nil
}

func (s *stage) stopServices() {
	for _, service := range []*exec.Cmd{s.standIn, s.forgets} {
		if service != nil && service.Process != nil {
			service.Process.Signal(os.Interrupt)
			service.Wait()
		}
	}
	s.standIn, s.forgets = nil, nil
}
