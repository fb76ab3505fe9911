package pipeline

import "github.com/prometheus/client_golang/prometheus"

var (
	rowsRead = prometheus.NewDesc("bulksub_rows_read_total", "Rows that came in and had no result.", nil, nil)
	rowsDone = prometheus.NewDesc("bulksub_rows_total", "Rows whose result was recorded, by status.", []string{"status"}, nil)
	retries  = prometheus.NewDesc("bulksub_retries_total", "Rows that were sent again.", nil, nil)
	inFlight = prometheus.NewDesc("bulksub_tokens_in_flight", "Tokens in calls under way.", nil, nil)
	rateNow  = prometheus.NewDesc("bulksub_rate_tokens_per_second", "Token operations per second that are granted now; +Inf without a ceiling.", nil, nil)
)

var _ prometheus.Collector = (*Meter)(nil)

// Describe implements [prometheus.Collector].
func (m *Meter) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{rowsRead, rowsDone, retries, inFlight, rateNow} {
		descs <- d
	}
	m.calls.Describe(descs)
	m.callSeconds.Describe(descs)
	m.waitSeconds.Describe(descs)
}

// Collect implements [prometheus.Collector].
func (m *Meter) Collect(metrics chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	p := m.Progress()
	counter(rowsRead, p.Read)
	counter(retries, p.Retries)
	for _, s := range Statuses {
		counter(rowsDone, p.Recorded[s], string(s))
	}
	metrics <- prometheus.MustNewConstMetric(inFlight, prometheus.GaugeValue, float64(p.InFlight))
	metrics <- prometheus.MustNewConstMetric(rateNow, prometheus.GaugeValue, p.Rate)
	m.calls.Collect(metrics)
	m.callSeconds.Collect(metrics)
	m.waitSeconds.Collect(metrics)
}
