package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// postmaster is the server's first process.
func postmaster(ctx context.Context, conn *pgx.Conn) int {
	var dir string
	if err := conn.QueryRow(ctx, `show data_directory`).Scan(&dir); err != nil {
		return 0
	}
	text, _ := os.ReadFile(dir + "/postmaster.pid")
	line, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(line)
	return pid
}

// treeCPU is what a process and its children have used, in seconds, those that have ended included.
func treeCPU(root int) float64 {
	_, own, ended := cpuOf(root)
	total := own + ended
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if parent, own, _ := cpuOf(pid); parent == root {
				total += own
			}
		}
	}
	return total
}

// cpuOf reads /proc/PID/stat, whose times are in hundredths of a second.
func cpuOf(pid int) (parent int, own, ended float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	at := func(i int) float64 {
		n, _ := strconv.ParseFloat(f[i], 64)
		return n / 100
	}
	parent, _ = strconv.Atoi(f[1])
	return parent, at(11) + at(12), at(13) + at(14)
}
