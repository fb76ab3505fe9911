package iidtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestHTTP2WithoutTLS(t *testing.T) {
	c := open(t, iidtest.Config{})
	transport := c.client.Transport.(*http.Transport)
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	if codes := c.add("t", tokens(0, 1000)...).codes(t); len(codes) != 1000 {
		t.Errorf("%d results", len(codes))
	}
	for _, name := range []string{"reset", "applied-reset", "truncated"} {
		c.service.SetFaults(plan(t, name))
		if got := c.add("t", "x"); got.err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTheHostNameDoesNotMatter(t *testing.T) {
	c := open(t, iidtest.Config{})
	r, err := http.NewRequest("POST", c.service.URL+"/iid/v1:batchAdd", strings.NewReader(batchBody(t, "t", []string{"x"})))
	if err != nil {
		t.Fatal(err)
	}
	r.Header, r.Host = c.header, "iid.googleapis.com"
	answer, err := c.client.Do(r)
	if err != nil || answer.StatusCode != 200 {
		t.Fatal(answer, err)
	}
	answer.Body.Close()
}

func TestCloseEndsCallsUnderWayAndWaitsForThem(t *testing.T) {
	began := make(chan struct{})
	var ended atomic.Bool
	hang := iidtest.Fault{Name: "hang", Serve: func(_ http.ResponseWriter, r *http.Request, _ func() iidtest.Answer) {
		close(began)
		<-r.Context().Done()
		for range 1000 {
			runtime.Gosched()
		}
		ended.Store(true)
	}}
	service, err := iidtest.Start(iidtest.Config{AnyBearer: true, Faults: []iidtest.Plan{{Fault: hang}}})
	if err != nil {
		t.Fatal(err)
	}
	var caller sync.WaitGroup
	caller.Go(func() {
		if answer, err := http.Post(service.URL+"/iid/v1:batchAdd", "", nil); err == nil {
			answer.Body.Close()
			t.Error("answered")
		}
	})
	<-began
	for range 2 {
		if err := service.Close(); err != nil || !ended.Load() {
			t.Errorf("%v, call ended: %v", err, ended.Load())
		}
	}
	caller.Wait()
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	c := open(t, iidtest.Config{})
	address := strings.TrimPrefix(c.service.URL, "http://")
	if service, err := iidtest.Listen(address, iidtest.Config{}); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("%v %v", service, err)
	}
}

func TestACallerWhoLeavesDuringLatencyChangesNothing(t *testing.T) {
	var settled []iidtest.Call
	service := iidtest.New(iidtest.Config{
		AnyBearer: true,
		Latency:   iidtest.Latency{Fixed: time.Hour},
		OnCall:    func(call iidtest.Call) { settled = append(settled, call) },
	})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	func() {
		defer func() {
			if r := recover(); r != http.ErrAbortHandler {
				t.Errorf("recovered %v", r)
			}
		}()
		service.ServeHTTP(httptest.NewRecorder(), callWith(batchBody(t, "t", []string{"x"})).WithContext(ctx))
	}()
	if service.Count("t") != 0 || len(settled) != 1 || settled[0].Status != 0 {
		t.Errorf("%d applied, settled %+v", service.Count("t"), settled)
	}
}

func TestReadingsOverHTTP(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := open(t, iidtest.Config{Now: func() time.Time { return at }})
	c.add("news", "b", "a")
	c.add("private/x%20", "a")
	for path, want := range map[string]string{
		"topics":                   `{"topics":{"news":2,"private/x%20":1}}`,
		"topics/news":              `{"count":2,"tokens":["a","b"],"topic":"news"}`,
		"topics/news?tokens=false": `{"count":2,"topic":"news"}`,
		"topics/private/x%2520":    `{"count":1,"tokens":["a"],"topic":"private/x%20"}`,
		"topics/none":              `{"count":0,"tokens":[],"topic":"none"}`,
		"tokens/a":                 `{"token":"a","topics":[{"topic":"news","addDate":"2026-03-01"},{"topic":"private/x%20","addDate":"2026-03-01"}]}`,
		"tokens/c":                 `{"token":"c","topics":[]}`,
		"calls?last=1":             `{"calls":[{"number":2,"time":"2026-03-01T00:00:00Z","endpoint":"batchAdd","topic":"private/x%20","tokens":1,"status":200}]}`,
		"stats":                    `{"calls":2,"faults":{},"ops":3,"peakOps":3,"window":"1s"}`,
		"stats?window=1m":          `{"calls":2,"faults":{},"ops":3,"peakOps":3,"window":"1m0s"}`,
	} {
		if got := c.do("GET", "/emulator/v1/"+path, ""); got.status != 200 || got.body != want {
			t.Errorf("%s: %v\nwant %s", path, got, want)
		}
	}
}

func TestControlOverHTTP(t *testing.T) {
	c := open(t, iidtest.Config{})
	if got := c.do("PUT", "/emulator/v1/faults", "503=first:1\n\n 500=first:2 \n"); got.status != 200 {
		t.Fatalf("%v", got)
	}
	for _, want := range []int{503, 500, 200} {
		if got := c.add("t", "x"); got.status != want {
			t.Errorf("%v, want %d", got, want)
		}
	}
	if got := c.do("PUT", "/emulator/v1/faults", "503\nnonsense"); got.status != 400 || !strings.Contains(got.body, "nonsense") {
		t.Errorf("%v", got)
	}
	if got := c.add("t", "x"); got.status != 200 {
		t.Errorf("half a list of faults was taken: %v", got)
	}
	if got := c.post("/emulator/v1/reset", ""); got.status != 200 || c.service.Count("t") != 0 || c.service.Ops() != 0 || len(c.service.FaultCounts()) != 0 {
		t.Errorf("reset: %v", got)
	}
	if got := c.add("t", "x"); got.status != 503 {
		t.Errorf("after a reset plans begin anew: %v", got)
	}
	var file map[string]string
	got := c.do("GET", "/emulator/v1/credentials", "")
	if err := json.Unmarshal([]byte(got.body), &file); err != nil || file["token_uri"] != c.service.URL+"/token" || file["type"] != "service_account" {
		t.Errorf("%v %v", file, err)
	}
}
