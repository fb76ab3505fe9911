//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
)

const benchRows = 1_000_000

// BenchmarkFirstSync brings a topic under sync: each of 1,000,000 subscriptions is planned and believed. The
// real program, a real PostgreSQL and the stand-in are processes of their own on this machine, at no added latency.
func BenchmarkFirstSync(b *testing.B) {
	url, program := pgtest.URL(b), buildProgram(b)
	fillBenchTable(b, url, benchRows)
	endpoint, credentials := startEmulator(b, program)
	for i := 0; b.Loop(); i++ {
		cmd := exec.Command(program, "sync", "--topic", fmt.Sprintf("bench-%d", i), "--table", "bench", "--rate", "0", "--quiet", "--json",
			"--database-url", url, "--endpoint", endpoint, "--credentials", credentials)
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		var s summary
		if err := json.Unmarshal(out, &s); err != nil || s.OK != benchRows {
			b.Fatalf("%v: %s", err, out)
		}
		b.ReportMetric(float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024, "peak-MiB")
	}
	b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkNightlySync makes a topic equal to a table of which 10,000 subscriptions
// have changed, in 10 calls; the peak is to be the same for few beliefs and for many.
func BenchmarkNightlySync(b *testing.B) {
	for _, beliefs := range []int{1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("beliefs=%d", beliefs), func(b *testing.B) { benchNight(b, beliefs) })
	}
}

func benchNight(b *testing.B, beliefs int) {
	url, program := pgtest.URL(b), buildProgram(b)
	fillBenchTable(b, url, beliefs)
	endpoint, credentials := startEmulator(b, program)
	sql := func(sql string) {
		err := withConn(url, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, sql)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	sql(`insert into bulksub.subscriptions (topic, token, job_id) select 'bench', token, 0 from bench`)
	sql(`vacuum analyze bulksub.subscriptions`)
	for b.Loop() {
		b.StopTimer()
		sql(`
			delete from bulksub.subscriptions where token in (select token from bench where id <= 5000);
			insert into bulksub.subscriptions (topic, token, job_id) select 'bench', 'gone-' || n, 0 from generate_series(1, 5000) n`)
		b.StartTimer()
		cmd := exec.Command(program, "sync", "--topic", "bench", "--table", "bench", "--rate", "0", "--quiet", "--json",
			"--database-url", url, "--endpoint", endpoint, "--credentials", credentials)
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		var s summary
		if err := json.Unmarshal(out, &s); err != nil || s.OK != 10_000 || s.Requests != 10 {
			b.Fatalf("%v: %s", err, out)
		}
		b.ReportMetric(float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024, "peak-MiB")
	}
}

func buildProgram(b testing.TB) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bulksub")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return path
}

func startEmulator(b *testing.B, program string) (endpoint, credentials string) {
	b.Helper()
	credentials = filepath.Join(b.TempDir(), "emulator.json")
	cmd := exec.Command(program, "emulator", "--listen", "127.0.0.1:0", "--write-credentials", credentials)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	endpoint, _, found := strings.Cut(strings.TrimPrefix(line, "listening at "), ";")
	if err != nil || !found {
		b.Fatalf("%v: %s", err, line)
	}
	return endpoint, credentials
}

func withConn(url string, do func(context.Context, *pgx.Conn) error) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return do(ctx, conn)
}

func fillBenchTable(b *testing.B, url string, rows int) {
	b.Helper()
	err := withConn(url, func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "create table bench (id bigint primary key, token text not null)"); err != nil {
			return err
		}
		_, err := conn.CopyFrom(ctx, pgx.Identifier{"bench"}, []string{"id", "token"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
			return []any{int64(i + 1), iidtest.Token(1, i)}, nil
		}))
		if err == nil {
			_, err = conn.Exec(ctx, "vacuum analyze bench")
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
}
