package pipeline

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Meter counts what a run does, for a progress display, a summary and
// Prometheus. It is safe for concurrent use, and serves the runs of one job, one after the
// other.
type Meter struct {
	read     atomic.Int64
	recorded map[Status]*atomic.Int64
	requests atomic.Int64
	retries  atomic.Int64
	inFlight atomic.Int64
	before   atomic.Int64
	rate     atomic.Uint64 // the bits of a float64

	mu      sync.Mutex
	codes   map[string]int64 // of failed rows
	trouble error

	calls       *prometheus.CounterVec
	callSeconds *prometheus.HistogramVec
	waitSeconds prometheus.Histogram
}

// NewMeter returns a meter that stands at zero.
func NewMeter() *Meter {
	m := &Meter{
		recorded: make(map[Status]*atomic.Int64, len(Statuses)),
		codes:    make(map[string]int64),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bulksub_calls_total", Help: "Calls to the service, by what they were for and how they ended.",
		}, []string{"op", "outcome"}),
		callSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bulksub_call_seconds", Help: "Seconds from sending a call to the last byte of its reply.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"op"}),
		waitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bulksub_limiter_wait_seconds", Help: "Seconds that a batch waited for the rate limit.",
			Buckets: []float64{.001, .01, .1, .5, 1, 5, 10, 60, 300},
		}),
	}
	for _, s := range Statuses {
		m.recorded[s] = new(atomic.Int64)
	}
	return m
}

// Progress is a meter's reading.
type Progress struct {
	Read     int64  // rows that came in and had no result
	Recorded Counts // rows whose result this run has recorded
	// Codes counts the service's own words for the rows that Failed: those it
	// documents, and those that nobody has heard of. Beyond 20 different words
	// the rest is counted under "…".
	Codes    map[string]int64
	Requests int64   // calls made
	Retries  int64   // rows sent again
	InFlight int64   // tokens in calls under way
	Before   int64   // rows that had a result when the first run began, or got one elsewhere before the last
	Rate     float64 // token operations per second that were granted last; +Inf: no ceiling
	// Trouble is why the last call failed, if none has brought a verdict for five seconds or more.
	Trouble error
}

// Progress reads the meter.
func (m *Meter) Progress() Progress {
	p := Progress{
		Read:     m.read.Load(),
		Recorded: make(Counts, len(Statuses)),
		Requests: m.requests.Load(),
		Retries:  m.retries.Load(),
		InFlight: m.inFlight.Load(),
		Before:   m.before.Load(),
		Rate:     math.Float64frombits(m.rate.Load()),
	}
	m.mu.Lock()
	p.Codes, p.Trouble = maps.Clone(m.codes), m.trouble
	m.mu.Unlock()
	for s, n := range m.recorded {
		if n := n.Load(); n > 0 {
			p.Recorded[s] = n
		}
	}
	return p
}

// inTrouble notes what keeps all calls from a verdict; nil: nothing does.
func (m *Meter) inTrouble(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trouble = err
}

const maxCodes = 20

func (m *Meter) count(s Status, code string) {
	m.recorded[s].Add(1)
	if s != Failed {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.codes[code]; !known && len(m.codes) >= maxCodes {
		code = "…"
	}
	m.codes[code]++
}

// begin notes what the job has recorded when a run begins.
func (m *Meter) begin(all Counts) {
	m.before.Store(all.Rows() - m.Progress().Recorded.Rows())
}

func (m *Meter) waited(d time.Duration) { m.waitSeconds.Observe(d.Seconds()) }

func (m *Meter) granted(g Grant) { m.rate.Store(math.Float64bits(g.Rate)) }

func (m *Meter) sending(tokens int) {
	m.requests.Add(1)
	m.inFlight.Add(int64(tokens))
}

func (m *Meter) answered(op Op, tokens int, took time.Duration, err error) {
	m.inFlight.Add(-int64(tokens))
	m.callSeconds.WithLabelValues(string(op)).Observe(took.Seconds())
	m.calls.WithLabelValues(string(op), outcomeLabel(err)).Inc()
}

func outcomeLabel(err error) string {
	if err == nil {
		return "judged"
	}
	switch callError(err).Kind {
	case Unavailable:
		return "unavailable"
	case Throttled:
		return "throttled"
	case Refused:
		return "refused"
	default:
		return "fatal"
	}
}
