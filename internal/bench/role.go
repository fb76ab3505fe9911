package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// roles are what this binary does in processes of its own. The one that starts them holds no tokens: the peak of a
// child's memory counts from that of its parent.
var roles = map[string]func(context.Context, env) error{"fill": fill, "csv": writeCSV, "floor": measureFloor, "sdk": subscribeBySDK, "service": forget}

// env is what a role is told.
type env struct {
	database, endpoint, csv string
	rows, callers           int
	latency                 time.Duration
}

// role is this binary in a role.
func (s *stage) role(name string, callers, rows int) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BENCH_ROLE="+name, "BENCH_DATABASE="+s.url(), "BENCH_ENDPOINT="+s.endpoint, "BENCH_CSV="+s.path("tokens.csv"),
		"BENCH_ROWS="+strconv.Itoa(rows), "BENCH_CALLERS="+strconv.Itoa(callers))
	cmd.Stderr = os.Stderr
	return cmd
}

func benchEnv() env {
	number := func(name string) int {
		n, _ := strconv.Atoi(os.Getenv(name))
		return n
	}
	latency, _ := time.ParseDuration(os.Getenv("BENCH_LATENCY"))
	return env{os.Getenv("BENCH_DATABASE"), os.Getenv("BENCH_ENDPOINT"), os.Getenv("BENCH_CSV"), number("BENCH_ROWS"), number("BENCH_CALLERS"), latency}
}

// say tells the parent.
func say(what any) error { return json.NewEncoder(os.Stdout).Encode(what) }
