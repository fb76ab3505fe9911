package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/trial"
)

// TestSecretsAreNowhere looks, while a job runs, at all that others can see of it: its pages, its command line, and what the
// database shows of its sessions (I13). What it says itself is looked at in every run of every test.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Mixed)
	port := freePort(t)
	var it atomic.Pointer[os.Process]
	s.Joins, s.Leaves = func(p *os.Process) { it.Store(p) }, func(*os.Process) {}
	var looks, most atomic.Int64 // most goroutines at a look
	look := func(where string, text []byte, err error) {
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", where, len(text), err)
		}
		if leak := trial.Leak(string(text)); leak != "" {
			t.Errorf("%s shows %s", where, leak)
		}
		looks.Add(1)
	}
	s.Each(func() {
		for _, path := range []string{"metrics", "healthz", "debug/pprof/cmdline", "debug/pprof/goroutine?debug=2", "debug/pprof/heap?debug=1"} {
			text, err := get(fmt.Sprintf("http://127.0.0.1:%d/%s", port, path))
			look(path, text, err)
			if n := int64(bytes.Count(text, []byte("\ngoroutine "))); n > most.Load() {
				most.Store(n)
			}
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", it.Load().Pid))
		look("the command line", text, err)
		rows, _ := s.db.Query(context.Background(), `select a::text from pg_stat_activity a where datname = current_database() and pid <> pg_backend_pid()`)
		sessions, err := pgx.CollectRows(rows, pgx.RowTo[string])
		look("the sessions", []byte(strings.Join(sessions, "\n")), err)
	})
	s.finish("--metrics-listen", fmt.Sprintf("127.0.0.1:%d", port), "--log-format", "json", "--concurrency", "4", "--batch-size", "200")
	reached(t, "looks", looks.Load(), 100)
	t.Logf("%d goroutines at most, %d looks", most.Load(), looks.Load())
	if n := most.Load(); n < 5 || n > 60 { // I14
		t.Errorf("the process had %d goroutines", n)
	}
}

// Nothing repeats the password of a database that cannot be reached, or of an address that is none.
func TestPasswordsAreNotRepeated(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Final)
	for _, url := range []string{
		"postgres://user:" + trial.Secret + "@127.0.0.1:1/db",
		"postgres://user:" + trial.Secret + "@127.0.0.1:port/db",
		"postgres://user:" + trial.Secret + "@[::1/db",
		"host=127.0.0.1 port=1 password=" + trial.Secret,
		"postgres://user:" + trial.Secret + "/@host/db",
		"user:" + trial.Secret + "@host/db",
	} {
		s.Env = []string{"DATABASE_URL=" + url}
		for _, command := range []string{"jobs", "doctor", "db"} {
			args := []string{command}
			if command == "db" {
				args = append(args, "status")
			}
			if out, err := s.tool(args...); err == nil || trial.Leak(out) != "" {
				t.Errorf("%s with %q: %v: %s", command, url, err, out)
			}
		}
		if code, last := s.Run(s.args()...); code == 0 || last.Words == "" {
			t.Errorf("a job with %q: ended with %d", url, code)
		}
	}
}

func get(url string) ([]byte, error) {
	res, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
