//go:build prometheus

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// These tests run the real Prometheus and the real Pushgateway: make test-prometheus.

const rulesFile = "../../deploy/prometheus/bulksub.rules.yml"

// TestAlertRules has promtool try each alert on series that raise it and series that
// do not.
func TestAlertRules(t *testing.T) {
	promtool(t, nil, "check", "config", "../../deploy/prometheus/prometheus.yml")
	promtool(t, nil, "test", "rules", "../../deploy/prometheus/bulksub.rules_test.yml")
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(slurp(t, rulesFile), -1)
	tried := slurp(t, "../../deploy/prometheus/bulksub.rules_test.yml")
	for _, alert := range alerts {
		if !strings.Contains(tried, "alertname: "+alert[1]+"\n") {
			t.Errorf("%s is never raised", alert[1])
		}
	}
}

// TestDashboardAndPushgateway runs a job that succeeds, one that cannot begin, and one that is terminated
// under the eyes of Prometheus: each expression of the dashboard and each metric of the
// rules has something to show, and the success is remembered.
func TestDashboardAndPushgateway(t *testing.T) {
	p, db, live := newProgram(t, scriptFate), pgtest.New(t), freeAddress(t)
	gateway := startWeb(t, "prometheus-pushgateway")
	prometheus := startPrometheus(t, gateway, live)
	fillTable(t, db, 50_000)

	if code, s := p.run("subscribe", "--topic", "news", "--pushgateway", gateway, "live-1", "live-2"); code != exitDone {
		t.Fatalf("ended with %d: %+v", code, s)
	}
	success, first := pushed(t, gateway, "bulksub_last_success_timestamp_seconds"), pushed(t, gateway, "push_time_seconds")
	if code, s := p.run("subscribe", "--topic", "news", "--csv", "nosuch.csv", "--pushgateway", gateway); code != exitInput {
		t.Fatalf("ended with %d: %+v", code, s)
	}
	if last := pushed(t, gateway, "push_time_seconds"); last <= first {
		t.Errorf("the run that could not begin has pushed nothing since %v: %v", first, last)
	}

	p.At(3, func(program *os.Process) {
		defer program.Signal(syscall.SIGTERM)
		for _, expr := range append(dashboard(t), rulesMetrics(t)...) {
			if err := prometheus.answers(expr); err != nil {
				t.Error(err)
			}
		}
		promtool(t, strings.NewReader(fetch(t, "http://"+live+"/metrics")), "check", "metrics")
	})
	if code, s := p.run("subscribe", "--topic", "news", "--table", "users", "--database-url", db.Config().ConnString(), "--rate", "500",
		"--batch-size", "50", "--attempts", "9", "--metrics-listen", live, "--pushgateway", gateway); code != exitTerminated {
		t.Fatalf("ended with %d: %+v", code, s)
	}
	if again := pushed(t, gateway, "bulksub_last_success_timestamp_seconds"); again != success {
		t.Errorf("the last success was at %v and is now at %v", success, again)
	}
	if last := pushed(t, gateway, "push_time_seconds"); last < success {
		t.Errorf("the run that was terminated has pushed nothing since %v: %v", success, last)
	}
	if rows := pushed(t, gateway, `bulksub_rows_total{instance="",job="bulksub",kind="subscribe",status="ok"}`); rows <= 2 {
		t.Errorf("the run that was terminated has pushed %v rows", rows)
	}
}

// dashboard is every expression of the dashboard, as Grafana would ask it.
func dashboard(t *testing.T) (exprs []string) {
	t.Helper()
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal([]byte(slurp(t, "../../deploy/grafana/bulksub.json")), &board); err != nil {
		t.Error(err)
	}
	filled := strings.NewReplacer("$kind", ".*", "$__rate_interval", "1m")
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			exprs = append(exprs, filled.Replace(target.Expr))
		}
	}
	if len(exprs) < 15 {
		t.Errorf("only %d expressions were found", len(exprs))
	}
	return exprs
}

// rulesMetrics are the metrics that the rules speak of.
func rulesMetrics(t *testing.T) (names []string) {
	t.Helper()
	seen := make(map[string]bool)
	for _, name := range regexp.MustCompile(`\b(?:bulksub_\w+|push_time_seconds)\b`).FindAllString(slurp(t, rulesFile), -1) {
		if !seen[name] {
			names = append(names, name)
		}
		seen[name] = true
	}
	if len(names) < 8 {
		t.Errorf("only %q were found", names)
	}
	return names
}

// promServer is a Prometheus at an address.
type promServer string

// startPrometheus runs one with the configuration of deploy/prometheus, faster.
func startPrometheus(t *testing.T, gateway, live string) promServer {
	t.Helper()
	dir := t.TempDir()
	config := strings.NewReplacer("pushgateway:9091", strings.TrimPrefix(gateway, "http://"), "bulksub:9464", live, "_interval: 15s", "_interval: 1s").
		Replace(slurp(t, "../../deploy/prometheus/prometheus.yml"))
	for name, text := range map[string]string{"prometheus.yml": config, "bulksub.rules.yml": slurp(t, rulesFile)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return promServer(startWeb(t, "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data")))
}

// answers asks until there is an answer with something in it.
func (s promServer) answers(expr string) error {
	var said string
	if !eventually(func() bool {
		said = get(string(s) + "/api/v1/query?query=" + url.QueryEscape(expr))
		var reply struct {
			Data struct{ Result []json.RawMessage }
		}
		return json.Unmarshal([]byte(said), &reply) == nil && len(reply.Data.Result) > 0
	}) {
		return fmt.Errorf("%s: %s", expr, said)
	}
	return nil
}

// startWeb runs a server on a free port until the test ends, and returns its URL.
func startWeb(t *testing.T, name string, args ...string) string {
	t.Helper()
	address := freeAddress(t)
	ready := func() bool { return get("http://"+address+"/-/ready") != "" }
	startServer(t, ready, name, append(args, "--web.listen-address="+address, "--log.level=warn")...)
	return "http://" + address
}

// pushed is what the gateway holds of a metric.
func pushed(t *testing.T, gateway, metric string) float64 {
	t.Helper()
	if !strings.Contains(metric, "{") {
		metric += `{instance="",job="bulksub",kind="subscribe"}`
	}
	page := fetch(t, gateway+"/metrics")
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, metric+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in\n%s", metric, page)
	return 0
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	page := get(url)
	if page == "" {
		t.Errorf("no answer from %s", url)
	}
	return page
}

// get is the page, or "".
func get(url string) string {
	resp, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(body)
}

func promtool(t *testing.T, in io.Reader, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
