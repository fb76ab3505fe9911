package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulksub/bulksub/pipeline"
)

func has(tokens []string, culprits ...string) bool {
	return slices.ContainsFunc(culprits, func(c string) bool { return slices.Contains(tokens, c) })
}

func TestBisectFindsPoison(t *testing.T) {
	for _, test := range []struct {
		poison []string
		most   int // calls
	}{
		{[]string{"token-700"}, 21},
		{[]string{"token-1", "token-1000"}, 2*21 + 1},
		{[]string{"token-1", "token-2", "token-3"}, 3*21 + 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			fates := map[string]fate{}
			for _, token := range test.poison {
				fates[token] = poisonous
			}
			s := &service{fate: some(fates), latency: time.Second}
			j := newJob(1000, s)
			j.must(t)
			j.once(t)
			if got := len(s.calls); got > test.most {
				t.Errorf("%v took %d calls", test.poison, got)
			}
			for _, row := range j.rows.rows {
				res, want := j.results[row.Key][0], pipeline.OK
				if slices.Contains(test.poison, row.Token) {
					want = pipeline.Invalid
				}
				if res.Status != want || want == pipeline.Invalid && res.Code != "INVALID_ARGUMENT" {
					t.Fatalf("%+v", res)
				}
			}
		})
	}
}

// TestTokenThatAlwaysFails: the service fails on two tokens and serves others;
// they have failed, and only they.
func TestTokenThatAlwaysFails(t *testing.T) {
	for _, n := range []int{1000, 20_000} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{latency: 100 * time.Millisecond}
			s.trouble = func(_ int, _ pipeline.Action, tokens []string) error {
				if has(tokens, "token-500", "token-999") {
					return callError(pipeline.Unavailable, 0)
				}
				return nil
			}
			j := newJob(n, s)
			if n == 1000 {
				j.BatchSize = 100
			}
			j.must(t)
			j.once(t)
			if c := j.counts(); c[pipeline.Failed] != 2 || c[pipeline.OK] != int64(n)-2 {
				t.Errorf("%v", c)
			}
			for _, key := range []string{"500", "999"} {
				if res := j.results[key][0]; res.Status != pipeline.Failed || res.Code != "CODE" || res.Attempts < 5 || res.Detail != `{"reason":"no verdict"}` {
					t.Errorf("%+v", res)
				}
			}
		})
	}
}

// TestSlowServiceWithOneBadBatch: a batch that fails at once, all its attempts,
// before the others are answered does not end the job.
func TestSlowServiceWithOneBadBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		s.trouble = func(_ int, _ pipeline.Action, tokens []string) error {
			if has(tokens, "token-1") {
				return callError(pipeline.Unavailable, 0)
			}
			return pause(t.Context(), 30*time.Second)
		}
		j := newJob(3000, s)
		j.must(t)
		j.once(t)
		if c := j.counts(); c[pipeline.Failed] != 1 || c[pipeline.OK] != 2999 {
			t.Fatalf("%v", c)
		}
	})
}

// TestLastTokensThatAlwaysFail: with nothing else left to tell, tokens on which the
// service itself fails have failed; with calls that do not come through, they are left
// for the next run.
func TestLastTokensThatAlwaysFail(t *testing.T) {
	for _, test := range []struct {
		others   int // rows done before
		answered bool
		waits    time.Duration
	}{{0, false, 0}, {0, true, 0}, {1000, false, 15 * time.Minute}, {1000, true, 0}} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{latency: time.Second}
			j, start := newJob(test.others, s), time.Now()
			j.must(t)
			s.trouble = func(int, pipeline.Action, []string) error {
				return &pipeline.CallError{Kind: pipeline.Unavailable, Answered: test.answered, Err: errors.New("no verdict")}
			}
			j.rows = numbered(test.others + 3)
			j.done[1] = false
			err := j.run(t.Context())
			_, unavailable := errors.AsType[*pipeline.UnavailableError](err)
			if unavailable == test.answered || test.answered && err != nil {
				t.Errorf("%+v: %v", test, err)
			}
			if failed := j.counts()[pipeline.Failed]; failed > 0 != test.answered || len(j.results) != test.others+int(failed) {
				t.Errorf("%+v: %v", test, j.counts())
			}
			if took := time.Since(start); took < test.waits || took > test.waits+5*time.Minute {
				t.Errorf("%+v: took %s", test, took)
			}
		})
	}
}

// TestSmallJobWithPoison: a batch that was the only one is divided too, although
// nothing has been judged yet.
func TestSmallJobWithPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Second}
		s.trouble = func(_ int, _ pipeline.Action, tokens []string) error {
			if has(tokens, "token-7") {
				return &pipeline.CallError{Kind: pipeline.Unavailable, Answered: true, Err: errors.New("HTTP 500")}
			}
			return nil
		}
		j := newJob(300, s)
		j.must(t)
		j.once(t)
		if c := j.counts(); c[pipeline.Failed] != 1 || c[pipeline.OK] != 299 {
			t.Errorf("%v", c)
		}
	})
}

func TestServiceThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Second, trouble: func(int, pipeline.Action, []string) error { return callError(pipeline.Unavailable, 0) }}
		j, start := newJob(30_000, s), time.Now()
		failure, ok := errors.AsType[*pipeline.UnavailableError](j.run(t.Context()))
		if !ok || len(j.results) > 0 {
			t.Fatalf("%v, %d results", failure, len(j.results))
		}
		if took := time.Since(start); len(s.calls) > 25 || took > 5*time.Minute {
			t.Errorf("gave up after %d calls and %s", len(s.calls), took)
		}
	})
}

// outageFrom makes the service fail for a while.
func (j *job) outageFrom(start time.Time, from, to time.Duration) {
	j.trouble = func(int, pipeline.Action, []string) error {
		if at := time.Since(start); at >= from && at < to {
			return callError(pipeline.Unavailable, 0)
		}
		return nil
	}
}

func TestOutageIsSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 200 * time.Millisecond}
		j, start := newJob(300_000, s), time.Now()
		j.Rate = 3000
		j.outageFrom(start, 30*time.Second, 630*time.Second)
		j.Meter = pipeline.NewMeter()
		for at, told := range map[time.Duration]bool{29 * time.Second: false, 33 * time.Second: false, 36 * time.Second: true, 629 * time.Second: true, 700 * time.Second: false} {
			time.AfterFunc(at, func() {
				if trouble := j.Meter.Progress().Trouble; (trouble != nil) != told {
					t.Errorf("after %v the trouble is %v", at, trouble)
				}
			})
		}
		j.must(t)
		j.once(t)
		during := s.between(start, 60*time.Second, 630*time.Second)
		if during < 5 || during > 3*570/10 {
			t.Errorf("%d calls during the outage", during)
		}
		for i, c := range s.calls[1:] {
			at := c.at.Sub(start)
			if at > 60*time.Second && at < 630*time.Second && c.at.Sub(s.calls[i].at) < s.latency {
				t.Fatal("two calls at a time during the outage")
			}
		}
		if took := time.Since(start); took > 630*time.Second+time.Minute+210*time.Second/3+5*time.Second {
			t.Errorf("took %s", took)
		}
		if len(s.calls) > 300+during+70 {
			t.Errorf("%d calls, %d of them during the outage", len(s.calls), during)
		}
	})
}

func TestOutageBeyondPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, start := newJob(100_000, &service{latency: time.Second}), time.Now()
		j.Rate, j.Patience = 3000, 5*time.Minute
		j.outageFrom(start, 10*time.Second, time.Hour)
		failure, ok := errors.AsType[*pipeline.UnavailableError](j.run(t.Context()))
		if took := time.Since(start); !ok || took < 5*time.Minute || took > 8*time.Minute {
			t.Fatalf("%v after %s", failure, took)
		}
		time.Sleep(time.Hour)
		j.must(t)
		j.once(t)
	})
}

func TestFatalStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Second}
		s.trouble = func(n int, _ pipeline.Action, _ []string) error {
			switch {
			case n == 6:
				return callError(pipeline.Fatal, 0)
			case n > 3:
				return pause(t.Context(), time.Second)
			}
			return nil
		}
		j := newJob(100_000, s)
		failure, ok := errors.AsType[*pipeline.CallError](j.run(t.Context()))
		if !ok || failure.Kind != pipeline.Fatal {
			t.Fatalf("%v", failure)
		}
		if len(s.calls) != 3+16 || len(j.results) != 18_000 {
			t.Errorf("%d calls, %d results", len(s.calls), len(j.results))
		}
	})
}

func TestBrakeTripsAfterThreeCalls(t *testing.T) {
	for _, f := range []fate{bad, denied} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{fate: everyone(f), latency: time.Second}
			j := newJob(100_000, s)
			failure, ok := errors.AsType[*pipeline.ErrorBrakeError](j.run(t.Context()))
			if !ok || len(s.calls) != 3 || len(j.results) != 0 {
				t.Errorf("%v after %d calls, %d results", failure, len(s.calls), len(j.results))
			}
		})
	}
}

// TestBrakeAsksForTheWholeJob: a run whose own rows are rejected looks at what
// others have recorded meanwhile, before it stops, and tells when that is no
// better.
func TestBrakeAsksForTheWholeJob(t *testing.T) {
	for _, test := range []struct {
		theirs pipeline.Status
		trips  bool
	}{{pipeline.OK, false}, {pipeline.Denied, true}} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{fate: everyone(bad), latency: time.Second}
			j := newJob(40_000, s)
			s.trouble = func(n int, _ pipeline.Action, _ []string) error {
				j.ledger.mu.Lock()
				defer j.ledger.mu.Unlock()
				for i := range 4000 { // another process
					if n <= 15 {
						key := fmt.Sprintf("theirs %d %d", n, i)
						j.results[key] = []pipeline.Result{{Key: key, Fate: &pipeline.Fate{Status: test.theirs}}}
					}
				}
				return nil
			}
			j.Concurrency = 1
			err := j.run(t.Context())
			_, tripped := errors.AsType[*pipeline.ErrorBrakeError](err)
			if tripped != test.trips || !test.trips && err != nil {
				t.Fatal(err)
			}
			if own := j.counts()[pipeline.Invalid]; test.trips && own != 0 || !test.trips && own != 40_000 {
				t.Errorf("%d of its own rows are recorded", own)
			}
		})
	}
}

func TestBrakeTripsOnSystematicRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{fate: everyone(poisonous), latency: 100 * time.Millisecond}
		j := newJob(100_000, s)
		failure, ok := errors.AsType[*pipeline.ErrorBrakeError](j.run(t.Context()))
		if !ok || len(s.calls) > 100 || len(j.results) != 0 {
			t.Errorf("%v after %d calls, %d results", failure, len(s.calls), len(j.results))
		}
	})
}

// TestBrakeLetsThroughWhatItCanJudge: a reply that rejects nearly all is held back
// at first, and recorded when enough others are accepted.
func TestBrakeLetsThroughWhatItCanJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most atomic.Int64
		l := newLedger()
		s := &service{latency: time.Second, fate: func(token string, _ pipeline.Action) fate {
			if len(token) <= len("token-999") {
				return bad
			}
			return live
		}}
		s.trouble = func(n int, _ pipeline.Action, _ []string) error {
			if l.mu.Lock(); n <= 3 {
				most.Add(l.counts()[pipeline.Invalid])
			}
			l.mu.Unlock()
			return nil
		}
		j := &job{numbered(50_000), l, s, pipeline.Options{Concurrency: 1}}
		j.must(t)
		j.once(t)
		if most.Load() > 0 || j.counts()[pipeline.Invalid] != 999 {
			t.Errorf("%d held back rows were recorded; %v", most.Load(), j.counts())
		}
	})
}

// TestKilledInDoubtLeavesNoBias: runs that die before the brake can judge, over
// and over, leave rows that look like the others, not rejected ones alone.
func TestKilledInDoubtLeavesNoBias(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Second, fate: func(token string, _ pipeline.Action) fate {
			if token[len(token)-1] < '4' {
				return bad
			}
			return live
		}}
		j := newJob(20_000, s)
		j.Concurrency = 1
		for range 8 {
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			if err := j.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
		}
		if j.counts()[pipeline.OK] == 0 {
			t.Fatal("nothing was recorded: this proves nothing")
		}
		j.must(t)
		j.once(t)
	})
}

// TestSmallJobsAreRecorded: too little is judged to blame the credential, also
// when nothing fits in the window but rows that are held back.
func TestSmallJobsAreRecorded(t *testing.T) {
	for _, test := range []struct{ rows, window, batch int }{{2000, 0, 1000}, {19, 0, 1}, {19, 2, 1}, {1900, 100, 1000}} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(test.rows, &service{fate: everyone(bad)})
			j.Window, j.BatchSize = test.window, test.batch
			if test.rows == 1900 {
				j.MaxRejected = 1
			}
			j.must(t)
			j.once(t)
			if j.counts()[pipeline.Invalid] != int64(test.rows) {
				t.Errorf("%v", j.counts())
			}
		})
	}
}

// TestDrainDuringDoubt: what the brake holds back when a run is stopped is
// recorded if it is no more than the brake allows.
func TestDrainDuringDoubt(t *testing.T) {
	for _, test := range []struct {
		digit byte // tokens that end with less are bad
		want  int
	}{{'3', 1000}, {'9', 0}} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{latency: time.Second, fate: func(token string, _ pipeline.Action) fate {
				if token[len(token)-1] < test.digit {
					return bad
				}
				return live
			}}
			stop := make(chan struct{})
			s.trouble = func(n int, _ pipeline.Action, _ []string) error {
				if n == 1 {
					close(stop)
				}
				return nil
			}
			j := newJob(50_000, s)
			j.Concurrency, j.Stop = 1, stop
			if err := j.run(t.Context()); !errors.Is(err, pipeline.ErrStopped) || len(j.results) != test.want {
				t.Errorf("%v, %d results", err, len(j.results))
			}
		})
	}
}
