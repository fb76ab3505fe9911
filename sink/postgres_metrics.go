package sink

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// ledgerMetrics counts what happens between processes.
type ledgerMetrics struct{ takeovers, refused, dropped prometheus.Counter }

func newLedgerMetrics() ledgerMetrics {
	return ledgerMetrics{
		takeovers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bulksub_takeovers_total", Help: "Segments taken over from a process that died or fell silent.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bulksub_refused_commits_total", Help: "Segments whose results were refused, for another process had taken them over.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bulksub_dropped_rows_total", Help: "Rows whose results were among those: the other process records them.",
		}),
	}
}

var segmentsNow = prometheus.NewDesc("bulksub_segments", "Segments of the job that have been cut, by state.", []string{"state"}, nil)

var _ prometheus.Collector = (*Postgres)(nil)

// Describe implements [prometheus.Collector].
func (p *Postgres) Describe(descs chan<- *prometheus.Desc) {
	descs <- segmentsNow
	p.metrics.takeovers.Describe(descs)
	p.metrics.refused.Describe(descs)
	p.metrics.dropped.Describe(descs)
}

// Collect implements [prometheus.Collector]. It asks the database, for two seconds at
// most; without an answer there are no segments to see.
func (p *Postgres) Collect(metrics chan<- prometheus.Metric) {
	p.metrics.takeovers.Collect(metrics)
	p.metrics.refused.Collect(metrics)
	p.metrics.dropped.Collect(metrics)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	rows, _ := p.pool.Query(ctx, `
		select state, count(s.number) from (values ('done'), ('held'), ('open')) as states (state)
		left join bulksub.segments s on s.job_id = $1 and number > 0
			and state = case when done then 'done' when owner is not null and lease_end > clock_timestamp() then 'held' else 'open' end
		group by state`, p.job.ID)
	var state string
	var n int64
	counts := make(map[string]int64)
	_, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		counts[state] = n
		return nil
	})
	if err != nil {
		return
	}
	for state, n := range counts {
		metrics <- prometheus.MustNewConstMetric(segmentsNow, prometheus.GaugeValue, float64(n), state)
	}
}
