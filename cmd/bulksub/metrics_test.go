package main

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/push"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// gateway stands where a Pushgateway would, and keeps what comes.
type gateway struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	pushes []string // method, path and body
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{status: http.StatusOK}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.pushes = append(g.pushes, r.Method+" "+r.URL.Path+"\n"+string(body))
		w.WriteHeader(g.status)
	}))
	t.Cleanup(g.Close)
	return g
}

// answer forgets what came, and answers so from now on.
func (g *gateway) answer(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status, g.pushes = status, nil
}

// inPush is the value of a gauge or counter without labels in a push, which is in the binary
// format: behind the name and the help comes a field 1 of 8 bytes, whose tag is 9, in a message
// whose length may be 9 too.
func inPush(push, name string) float64 {
	_, family, _ := strings.Cut(push, name)
	_, value, _ := strings.Cut(family, "\x09")
	if value = strings.TrimPrefix(value, "\x09"); len(value) < 8 {
		return math.NaN()
	}
	return math.Float64frombits(binary.LittleEndian.Uint64([]byte(value[:8])))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestMetricsAreServed: while the job runs, what it counts is there to see, and no
// token among it (P8).
func TestMetricsAreServed(t *testing.T) {
	p, db, address := newProgram(t, scriptFate), pgtest.New(t), freeAddress(t)
	fillTable(t, db, 5000)
	pages := map[string]string{"/metrics": "", "/healthz": "", "/debug/pprof/goroutine?debug=1": ""}
	p.At(4, func(*os.Process) {
		for path := range pages {
			if resp, err := http.Get("http://" + address + path); err == nil {
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				pages[path] = string(body)
			}
		}
	})
	if code, s := p.run("subscribe", "--topic", "news", "--table", "users", "--attempts", "1", "--concurrency", "1", "--metrics-listen", address,
		"--database-url", db.Config().ConnString()); code != exitFailedRows {
		t.Fatalf("ended with %d: %+v", code, s)
	}
	for _, name := range []string{
		`bulksub_calls_total{op="subscribe",outcome="judged"} 3`, `bulksub_rows_total{status="ok"} `, `bulksub_tokens_in_flight 1000`,
		`bulksub_rate_tokens_per_second 3000`, `bulksub_rate_ceiling_tokens_per_second 3000`, `bulksub_segments{state="held"} 1`,
		"bulksub_takeovers_total 0", "bulksub_refused_commits_total 0", "bulksub_dropped_rows_total 0", "bulksub_prune_held_back 0", "bulksub_limiter_wait_seconds_count 4",
	} {
		if !strings.Contains(pages["/metrics"], name) {
			t.Errorf("no %s in\n%s", name, pages["/metrics"])
		}
	}
	if pages["/healthz"] != "ok\n" || !strings.Contains(pages["/debug/pprof/goroutine?debug=1"], "goroutine profile") {
		t.Errorf("%q", pages)
	}
	if leak := trial.Leak(strings.Join([]string{pages["/metrics"], pages["/healthz"]}, "")); leak != "" {
		t.Errorf("the pages show %s", leak)
	}
}

// failing is a token that never gets a final word.
func failing() string {
	for i := 0; ; i++ {
		if status, _ := expected(iidtest.Token(1, i)); status == "failed" {
			return iidtest.Token(1, i)
		}
	}
}

// TestMetricsArePushed: a run that fails does not push a success, and a gateway
// in trouble changes no exit code.
func TestMetricsArePushed(t *testing.T) {
	p, g := newProgram(t, scriptFate), newGateway(t)
	const success = "bulksub_last_success_timestamp_seconds"
	for _, test := range []struct {
		token    string
		status   int
		code     int
		succeeds bool
	}{{"live-1", 200, exitDone, true}, {failing(), 200, exitFailedRows, false}, {"live-1", 500, exitDone, true}} {
		g.answer(test.status)
		code, _ := p.run("subscribe", "--topic", "news", "--attempts", "1", "--pushgateway", g.URL, test.token, "live-2")
		g.mu.Lock()
		pushes := g.pushes
		g.mu.Unlock()
		if code != test.code || len(pushes) != 1 || !strings.HasPrefix(pushes[0], "POST /metrics/job/bulksub/kind/subscribe\n") {
			t.Fatalf("ended with %d: %q", code, pushes)
		}
		if strings.Contains(pushes[0], success) != test.succeeds {
			t.Errorf("success %v: %s", test.succeeds, pushes[0])
		}
	}
}

// wire is a way to a gateway.
type wire func(*http.Request) (*http.Response, error)

func (w wire) Do(r *http.Request) (*http.Response, error) { return w(r) }

// TestMetricsArePushedOnTheWay: a run of 95 seconds pushes three times, and once more when it ends.
func TestMetricsArePushedOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []float64
		gateway := wire(func(*http.Request) (*http.Response, error) {
			at = append(at, time.Since(began).Seconds())
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
		ctx, quit := context.WithCancel(t.Context())
		shown := &telemetry{
			pusher: push.New("http://gateway", "bulksub").Client(gateway), log: slog.New(slog.DiscardHandler), quit: quit, pushed: make(chan struct{}),
		}
		go shown.keepPushing(ctx)
		time.Sleep(95 * time.Second)
		shown.stop(errFailedRows)
		if !slices.Equal(at, []float64{30, 60, 90, 95}) {
			t.Errorf("pushed at %v", at)
		}
	})
}

// TestFailureToBeginIsPushed: the last push of a run that could not open its job is of no success, and leaves alone
// what was pushed before. A dry run pushes nothing (P10).
func TestFailureToBeginIsPushed(t *testing.T) {
	p, g := newProgram(t, scriptFate), newGateway(t)
	args := []string{"subscribe", "--topic", "news", "--csv", "nosuch.csv", "--pushgateway", g.URL}
	if code, _ := p.run(args...); code != exitInput || !slices.Equal(g.pushes, []string{"POST /metrics/job/bulksub/kind/subscribe\n"}) {
		t.Errorf("ended with %d: %q", code, g.pushes)
	}
	g.answer(http.StatusOK)
	if code, _ := p.run(append(args, "--dry-run")...); code != exitInput || len(g.pushes) > 0 {
		t.Errorf("the dry run ended with %d: %q", code, g.pushes)
	}
}
