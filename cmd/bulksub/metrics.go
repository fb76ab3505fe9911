package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/push"
	"github.com/spf13/pflag"
)

// metricsFlags say how the metrics leave the process.
type metricsFlags struct{ listen, pushgateway string }

func (f *metricsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.listen, "metrics-listen", "", "serve /metrics, /healthz and /debug/pprof at `HOST:PORT`; without a host, to this machine alone")
	flags.StringVar(&f.pushgateway, "pushgateway", "", "push the metrics every 30 seconds and at the end to the Pushgateway at `URL`")
}

func (f *metricsFlags) check() error {
	if u, err := url.Parse(f.pushgateway); f.pushgateway != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return usagef("--pushgateway is %q; write it like http://pushgateway:9091", f.pushgateway)
	}
	if _, _, err := net.SplitHostPort(f.listen); f.listen != "" && err != nil {
		return usagef("--metrics-listen is %q; write it like :9464 or 0.0.0.0:9464", f.listen)
	}
	return nil
}

const (
	pushEvery   = 30 * time.Second
	pushTimeout = 10 * time.Second
)

// telemetry is where the metrics of a run leave the process.
type telemetry struct {
	registry  *prometheus.Registry
	success   prometheus.Gauge
	heldBack  prometheus.Gauge
	server    *http.Server
	pusher    *push.Pusher // nil: nowhere
	log       *slog.Logger
	quit      context.CancelFunc
	pushed    chan struct{}
	listening string // the address; "": nowhere
}

// startTelemetry begins to show that there is a run. What it counts is added when its job is open: what
// an earlier run has pushed stays until then.
func startTelemetry(f metricsFlags, command string, log *slog.Logger) (*telemetry, error) {
	t := &telemetry{registry: prometheus.NewRegistry(), log: log, pushed: make(chan struct{})}
	t.success = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bulksub_last_success_timestamp_seconds", Help: "When a job of this kind last ended with a final result for every row.",
	})
	t.heldBack = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bulksub_prune_held_back", Help: "1 if the prune brake held back what was to be pruned.",
	})
	if err := t.listen(f.listen); err != nil {
		return nil, err
	}
	ctx, quit := context.WithCancel(context.Background())
	t.quit = quit
	if f.pushgateway != "" {
		t.pusher = push.New(f.pushgateway, "bulksub").Grouping("kind", command).Gatherer(t.registry)
	}
	go t.keepPushing(ctx)
	return t, nil
}

// add shows the metrics of the job too.
func (t *telemetry) add(job ...prometheus.Collector) {
	t.registry.MustRegister(append(job, t.heldBack)...)
}

// listen serves until stop. An address without a host is this machine's own.
func (t *telemetry) listen(address string) error {
	if address == "" {
		return nil
	}
	if strings.HasPrefix(address, ":") {
		address = "127.0.0.1" + address
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return &configError{fmt.Errorf("--metrics-listen: %w", err)}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	t.listening = listener.Addr().String()
	t.log.Info("metrics", "address", t.listening)
	t.server = &http.Server{Handler: mux, ReadHeaderTimeout: pushTimeout}
	go t.server.Serve(listener)
	return nil
}

func (t *telemetry) keepPushing(ctx context.Context) {
	defer close(t.pushed)
	tick := time.NewTicker(pushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.push(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// push adds to what was pushed before, so that a run that fails leaves the time of
// the last success as it is. An error is told and changes nothing.
func (t *telemetry) push(ctx context.Context) {
	if t.pusher == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	if err := t.pusher.AddContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.log.Warn("the metrics were not pushed", "err", err)
	}
}

// stop shows how the run ended, and ends.
func (t *telemetry) stop(runErr error) {
	if runErr == nil {
		t.success.SetToCurrentTime()
		t.registry.MustRegister(t.success)
	}
	if end, ok := errors.AsType[*trouble](runErr); ok && end.HeldBack {
		t.heldBack.Set(1)
	}
	t.quit()
	<-t.pushed
	t.push(context.Background())
	if t.server != nil {
		t.server.Close()
	}
}
