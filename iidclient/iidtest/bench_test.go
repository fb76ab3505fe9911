package iidtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// discard is a ResponseWriter that costs nothing, and remembers the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

var nowhere = httptest.NewRequest("GET", "/nowhere", nil)

// BenchmarkBatchAdd is the handler alone, one call of 1,000 tokens per
// operation: every token new ("new"), or all of a million known already.
func BenchmarkBatchAdd(b *testing.B) {
	mix := iidtest.Mix{Dead: 0.05, Transient: 0.01}
	for name, fates := range map[string]iidtest.Fates{"live": nil, "mix": mix.Fate} {
		b.Run("new/"+name, func(b *testing.B) {
			service := iidtest.New(iidtest.Config{AnyBearer: true, Fates: fates})
			var used time.Duration
			for n := 0; b.Loop(); n++ {
				if n%1000 == 0 {
					service.Reset()
				}
				r := batchCall(b, tokens(n*1000, n*1000+1000))
				began := cpu()
				call(b, service, r)
				used += cpu() - began
			}
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("known/mix", func(b *testing.B) {
		service := iidtest.New(iidtest.Config{AnyBearer: true, Fates: mix.Fate})
		bodies := make([]string, 1000)
		for n := range bodies {
			bodies[n] = batchBody(b, "news", tokens(n*1000, n*1000+1000))
			call(b, service, callWith(bodies[n]))
		}
		b.ResetTimer()
		began := cpu()
		for n := range b.N {
			call(b, service, callWith(bodies[n%len(bodies)]))
		}
		b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-µs/op")
	})
}

func batchCall(b *testing.B, tokens []string) *http.Request {
	return callWith(batchBody(b, "news", tokens))
}

func callWith(body string) *http.Request {
	r := httptest.NewRequest("POST", "/iid/v1:batchAdd", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer any")
	r.Header.Set("access_token_auth", "true")
	r.Header.Set("Content-Type", "application/json")
	return r
}

func call(b *testing.B, service http.Handler, r *http.Request) {
	var w discard
	service.ServeHTTP(&w, r)
	if w.status != http.StatusOK {
		b.Fatal(w.status)
	}
}

// BenchmarkOverHTTP includes net/http on both sides and the loopback.
func BenchmarkOverHTTP(b *testing.B) {
	c := open(b, iidtest.Config{})
	body := batchBody(b, "news", tokens(0, 1000))
	began := cpu()
	defer func() { b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-µs/op") }()
	for b.Loop() {
		if got := c.post("/iid/v1:batchAdd", body); got.status != http.StatusOK {
			b.Fatal(got)
		}
	}
}

func BenchmarkToken(b *testing.B) {
	for n := 0; b.Loop(); n++ {
		iidtest.Token(1, n)
	}
}

// BenchmarkMemory reports what the state holds per subscribed token.
func BenchmarkMemory(b *testing.B) {
	const count = 1_000_000
	for b.Loop() {
		before := heap()
		service := iidtest.New(iidtest.Config{AnyBearer: true})
		for n := 0; n < count; n += 1000 {
			call(b, service, batchCall(b, tokens(n, n+1000)))
		}
		b.ReportMetric(float64(heap()-before)/count, "bytes/token")
		if fmt.Sprint(service.Count("news")) != fmt.Sprint(count) {
			b.Fatal("lost some")
		}
	}
}

// cpu is what this process has used; on a busy machine the clock says little.
func cpu() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		panic(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
