package iidtest_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestQuotaRefusesWholeCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := iidtest.New(iidtest.Config{
			AnyBearer: true,
			Quota:     iidtest.Quota{Rate: 10, Burst: 20, RetryAfter: 1500 * time.Millisecond},
		})
		ask := func(n, status int) {
			t.Helper()
			w := serve(t, service, "t", tokens(0, n)...)
			if w.Code != status {
				t.Errorf("%d tokens: %d, want %d", n, w.Code, status)
			}
			if status == 429 && (w.Header().Get("Retry-After") != "2" || w.Body.String() != `{"error":"RESOURCE_EXHAUSTED"}`) {
				t.Errorf("%s, Retry-After %q", w.Body, w.Header().Get("Retry-After"))
			}
		}
		ask(15, 200)
		ask(6, 429)
		ask(5, 200)
		time.Sleep(900 * time.Millisecond)
		ask(10, 429)
		time.Sleep(100 * time.Millisecond)
		ask(10, 200)
		time.Sleep(time.Hour)
		ask(21, 429)
		ask(20, 200)
		ask(1, 429)
		service.Reset()
		ask(20, 200)
	})
}

func TestQuotaPerToken(t *testing.T) {
	service := iidtest.New(iidtest.Config{
		AnyBearer: true,
		Now:       func() time.Time { return time.Unix(0, 0) },
		Quota:     iidtest.Quota{Rate: 10, Burst: 3, PerToken: true},
		Fates:     func(string) iidtest.Fate { return iidtest.Live },
	})
	for _, want := range [][]string{{"", ""}, {"", "RESOURCE_EXHAUSTED"}, {"RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"}} {
		w := serve(t, service, "t", "a", "b")
		if got := (reply{status: w.Code, body: w.Body.String()}).codes(t); !slices.Equal(got, want) {
			t.Errorf("got %q want %q", got, want)
		}
	}
}

func TestLatencyIsDrawnPerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		measure := func(seed uint64) (times []time.Duration) {
			service := iidtest.New(iidtest.Config{
				AnyBearer: true,
				Latency:   iidtest.Latency{Fixed: time.Second, Jitter: time.Second, Seed: seed},
			})
			for range 20 {
				began := time.Now()
				serve(t, service, "t", "x")
				times = append(times, time.Since(began))
			}
			return times
		}
		one := measure(1)
		if slices.Min(one) < time.Second || slices.Max(one) >= 2*time.Second || slices.Min(one) == slices.Max(one) {
			t.Errorf("%v", one)
		}
		if !slices.Equal(one, measure(1)) || slices.Equal(one, measure(2)) {
			t.Error("latency must depend on its seed, and on nothing else")
		}
	})
}
