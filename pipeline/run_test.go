package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

// job is a run of rows into a new ledger.
type job struct {
	*rows
	*ledger
	*service
	pipeline.Options
}

func newJob(n int, s *service) *job { return &job{numbered(n), newLedger(), s, pipeline.Options{}} }

func (j *job) run(ctx context.Context) error { return j.runAs(ctx, j.process()) }

func (j *job) runAs(ctx context.Context, p *process) error {
	return pipeline.Run(ctx, pipeline.Job{Source: j.rows, Sink: p, Service: j.service}, j.Options)
}

// must runs the job to its end.
func (j *job) must(t *testing.T) {
	t.Helper()
	if err := j.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// once reports rows that have not exactly one result.
func (j *job) once(t *testing.T) {
	t.Helper()
	for _, row := range j.rows.rows {
		if n := len(j.results[row.Key]); n != 1 {
			t.Fatalf("row %s has %d results", row.Key, n)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, test := range []struct {
		rows int
		want []int
	}{
		{0, nil}, {1, []int{1}}, {1000, []int{1000}}, {1001, []int{1, 1000}}, {2500, []int{500, 1000, 1000}},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(test.rows, &service{latency: time.Second})
			j.must(t)
			j.once(t)
			if got := slices.Sorted(slices.Values(j.sizes())); !slices.Equal(got, test.want) {
				t.Errorf("%d rows went in batches of %v", test.rows, got)
			}
		})
	}
}

func TestListToMemory(t *testing.T) {
	list := &source.List{Tokens: []string{"a", "b", "a", " "}, Tasks: source.Always(news)}
	memory, s := new(sink.Memory), &service{fate: some(map[string]fate{"b": gone})}
	if err := pipeline.Run(t.Context(), pipeline.Job{Source: list, Sink: memory, Service: s}, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	statuses := map[string]pipeline.Status{}
	for _, res := range memory.Results() {
		statuses[res.Key] = res.Status
	}
	want := map[string]pipeline.Status{"1": pipeline.OK, "2": pipeline.NotFound, "3": pipeline.OK, "4": pipeline.Malformed}
	if fmt.Sprint(statuses) != fmt.Sprint(want) || len(memory.Results()) != 4 {
		t.Errorf("%v, want %v", statuses, want)
	}
}

func TestDuplicatesShareAPlace(t *testing.T) {
	s := &service{fate: some(map[string]fate{"same": transient("INTERNAL", 2)})}
	j := newJob(900, s)
	for i := range 600 {
		j.rows.rows[i].Token = "same"
	}
	synctest.Test(t, func(t *testing.T) {
		j.must(t)
		j.once(t)
		if got := s.sizes(); !slices.Equal(got, []int{301, 1, 1}) {
			t.Errorf("batches of %v", got)
		}
	})
}

// TestRetriesTravelInFullBatches counts the calls that transient failures cost.
func TestRetriesTravelInFullBatches(t *testing.T) {
	for _, test := range []struct {
		every int
		most  float64
	}{{100, 1.03}, {10, 1.10}} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{latency: 200 * time.Millisecond, fate: func(token string, _ pipeline.Action) fate {
				if n, _ := strconv.Atoi(token[len("token-"):]); n%test.every == 0 {
					return transient("INTERNAL", 1)
				}
				return live
			}}
			j := newJob(200_000, s)
			j.Rate = 3000
			j.must(t)
			j.once(t)
			tokens := 200_000 + 200_000/test.every
			t.Logf("1 in %d transient: %d calls, %.3f of the ideal, %.3f of the ideal without retries", test.every, len(s.calls), float64(len(s.calls))*1000/float64(tokens), float64(len(s.calls))/200)
			if got := float64(len(s.calls)) / 200; got > test.most {
				t.Errorf("%.3f times the calls", got)
			}
		})
	}
}

// TestRate: P5 with retries, throttles and calls that fail.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 700 * time.Millisecond, fate: func(token string, _ pipeline.Action) fate {
			if token[len(token)-1] == '7' {
				return transient("INTERNAL", 2)
			}
			return live
		}}
		s.trouble = func(n int, _ pipeline.Action, _ []string) error {
			switch {
			case n%17 == 0:
				return callError(pipeline.Throttled, time.Duration(n%3)*time.Second)
			case n%7 == 0:
				return callError(pipeline.Unavailable, 0)
			}
			return nil
		}
		j := newJob(60_000, s)
		j.Rate = 3000
		j.must(t)
		j.once(t)
		if most := s.busiest(); most > 4000 {
			t.Errorf("%d operations in one second", most)
		}
	})
}

// quota is a token bucket at the service: it answers 429 for what is above it.
type quota struct {
	rate, level float64
	began, at   time.Time
	refused     int // after the first second, in which nobody can know
}

func (q *quota) take(_ int, _ pipeline.Action, tokens []string) error {
	now := time.Now()
	q.level = min(q.rate, q.level+now.Sub(q.at).Seconds()*q.rate)
	q.at = now
	if q.level < float64(len(tokens)) {
		if now.Sub(q.began) > time.Second {
			q.refused++
		}
		return callError(pipeline.Throttled, 0)
	}
	q.level -= float64(len(tokens))
	return nil
}

// TestQuotaIsFound: with a ceiling above the service's quota, or none, nine tenths of
// the quota are used, and few calls are turned away.
func TestQuotaIsFound(t *testing.T) {
	for _, ceiling := range []float64{0, 300} {
		synctest.Test(t, func(t *testing.T) {
			q := &quota{rate: 200, began: time.Now(), at: time.Now()}
			s := &service{latency: 300 * time.Millisecond, trouble: q.take}
			j, start := newJob(60_000, s), time.Now()
			j.Rate, j.BatchSize = ceiling, 100
			s.trouble = func(n int, a pipeline.Action, tokens []string) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				return q.take(n, a, tokens)
			}
			j.must(t)
			share := 60_000 / time.Since(start).Seconds() / q.rate
			t.Logf("ceiling %v: %.2f of the quota, %d of %d calls refused", ceiling, share, q.refused, len(s.calls))
			if share < 0.9 || float64(q.refused) > 0.02*float64(len(s.calls)) {
				t.Errorf("ceiling %v: %.2f of the quota, %d of %d calls refused", ceiling, share, q.refused, len(s.calls))
			}
		})
	}
}

// TestExhaustedTokensAreRetried: a quota that turns single tokens away.
func TestExhaustedTokensSlowEverythingDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 300 * time.Millisecond, fate: everyone(exhausted(1))}
		meter := pipeline.NewMeter()
		j := newJob(4000, s)
		j.Rate, j.Meter = 3000, meter
		j.must(t)
		j.once(t)
		if got := j.counts()[pipeline.OK]; got != 4000 || meter.Progress().Rate >= 3000 {
			t.Errorf("%d ok at a rate of %v", got, meter.Progress().Rate)
		}
	})
}

func TestUnknownCodeWordForWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const code = "Quite UNHEARD of – 7"
		j := newJob(3, &service{fate: some(map[string]fate{"token-2": transient(code, 0)})})
		j.must(t)
		j.once(t)
		if got := j.results["2"][0]; got.Status != pipeline.Failed || got.Code != code || got.Attempts != 5 {
			t.Errorf("%+v", got)
		}
	})
}

// TestAttemptsAreEachActionsOwn: what an action has cost is not held against the
// next one.
func TestAttemptsAreEachActionsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(1, &service{fate: everyone(transient("INTERNAL", 2))})
		j.rows = numbered(1, news, pipeline.Action{Op: pipeline.Unsubscribe, Topic: "old"}, pipeline.Action{Op: pipeline.Subscribe, Topic: "more"})
		j.Attempts = 3
		j.must(t)
		if got := j.results["1"][0]; got.Status != pipeline.OK || got.Attempts != 9 || got.Topic != "more" {
			t.Errorf("%+v", got)
		}
	})
}

// TestRegistrationTokenIsKept: the token that an import gave takes the further
// actions, and is in the result although a later action decided.
func TestRegistrationTokenIsKept(t *testing.T) {
	s, l := new(service), newLedger()
	actions := numbered(2, pipeline.Action{Op: "import", Topic: "app"}, news)
	s.fate = some(map[string]fate{"fcm-token-2": gone})
	if err := pipeline.Run(t.Context(), pipeline.Job{Source: actions, Sink: l.process(), Service: s}, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	for key, status := range map[string]pipeline.Status{"1": pipeline.OK, "2": pipeline.NotFound} {
		if got := l.results[key][0]; got.Status != status || got.Token != "token-"+key || got.RegistrationToken != "fcm-token-"+key {
			t.Errorf("%+v", got)
		}
	}
	if got := s.subscribers("news"); !slices.Equal(got, []string{"fcm-token-1"}) {
		t.Errorf("subscribed %v", got)
	}
}

// TestManyTopics: 5,000 actions, unsorted, many more rows than the window holds.
func TestManyTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 100 * time.Millisecond}
		j := newJob(60_000, s)
		for i := range j.rows.rows {
			topic := "t" + strconv.Itoa(i*7919%5000)
			j.rows.rows[i].Actions = []pipeline.Action{{Op: pipeline.Subscribe, Topic: topic}}
		}
		j.Window = 24_000
		j.must(t)
		j.once(t)
		average := 60_000 / float64(len(s.calls))
		t.Logf("%d calls, %.1f rows in each, at most %d rows in hand", len(s.calls), average, j.mostHand)
		if j.mostHand > 24_000+512 || average < 5.5 {
			t.Errorf("%d rows in hand, %.1f rows in a call", j.mostHand, average)
		}
	})
}

// TestNoSmallBatchesInMidRun: with one topic, all calls but the last are full,
// however slow the service and however fast the source.
func TestNoSmallBatchesInMidRun(t *testing.T) {
	for _, latency := range []time.Duration{0, time.Millisecond, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{latency: latency}
			j := newJob(100_500, s)
			j.must(t)
			if got := len(s.calls); got != 101 {
				t.Errorf("latency %s: %d calls", latency, got)
			}
		})
	}
}

var errTest = errors.New("for the test")
