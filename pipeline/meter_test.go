package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/bulksub/bulksub/pipeline"
)

// TestMetrics: names as Prometheus wants them, and counts that agree with the
// results.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter, registry := pipeline.NewMeter(), prometheus.NewPedanticRegistry()
		registry.MustRegister(meter)
		s := &service{latency: time.Second, fate: some(map[string]fate{
			"token-1": gone, "token-2": transient("INTERNAL", 1), "token-3": bad, "token-4": poisonous,
		})}
		j := newJob(2500, s)
		j.Meter = meter
		j.must(t)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
		p := meter.Progress()
		if p.Read != 2500 || p.Recorded.Rows() != 2500 || p.Requests != int64(len(s.calls)) || p.InFlight != 0 || p.Retries == 0 {
			t.Errorf("%+v after %d calls", p, len(s.calls))
		}
		for _, family := range families {
			if family.GetName() != "bulksub_rows_total" {
				continue
			}
			for _, metric := range family.GetMetric() {
				status, n := pipeline.Status(metric.GetLabel()[0].GetValue()), int64(metric.GetCounter().GetValue())
				if n != j.counts()[status] || n != p.Recorded[status] {
					t.Errorf("%d %s in the metrics, %d in the meter, %d recorded", n, status, p.Recorded[status], j.counts()[status])
				}
			}
		}
	})
}

// TestMeterOfTwoRuns: what the first run has recorded is no part of what was done before it.
func TestMeterOfTwoRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(50_000, &service{latency: time.Second})
		j.must(t)
		j.rows = numbered(60_000)
		j.Meter = pipeline.NewMeter()
		for range 2 {
			j.must(t)
			if p := j.Meter.Progress(); p.Before != 50_000 || p.Recorded.Rows() != 10_000 {
				t.Errorf("%d rows before, and %d recorded", p.Before, p.Recorded.Rows())
			}
		}
	})
}
