package iidtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func plan(t testing.TB, text string) iidtest.Plan {
	t.Helper()
	plan, err := iidtest.ParseFault(text)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestRefusals(t *testing.T) {
	c := open(t, iidtest.Config{})
	for name, want := range map[string]struct {
		status           int
		body, retryAfter string
	}{
		"503":            {503, `{"error":"UNAVAILABLE"}`, ""},
		"401-html":       {401, "<!DOCTYPE html>", ""},
		"401-empty":      {401, "", ""},
		"429+7":          {429, `{"error":"RESOURCE_EXHAUSTED"}`, "7"},
		"429-empty+-5":   {429, "", "-5"},
		"500-object":     {500, `{"error":{"code":500,"message":"`, ""},
		"502-html":       {502, "<!DOCTYPE html>", ""},
		"413":            {413, `{"error":"Request Entity Too Large"}`, ""},
		"599-empty+soon": {599, "", "soon"},
	} {
		c.service.SetFaults(plan(t, name))
		got := c.add("t", "x")
		if got.status != want.status || !strings.HasPrefix(got.body, want.body) || (want.body == "") != (got.body == "") ||
			got.header.Get("Retry-After") != want.retryAfter {
			t.Errorf("%s: %v, Retry-After %q", name, got, got.header.Get("Retry-After"))
		}
		if c.service.FaultCounts()[name] != 1 {
			t.Errorf("%s: counts %v", name, c.service.FaultCounts())
		}
	}
	if c.service.Count("t") != 0 {
		t.Error("a refused call was applied")
	}
}

func TestRetryAfterDate(t *testing.T) {
	c := open(t, iidtest.Config{})
	c.service.SetFaults(plan(t, "503+date"))
	before := time.Now().Truncate(time.Second)
	when, err := http.ParseTime(c.add("t", "x").header.Get("Retry-After"))
	if err != nil || when.Before(before.Add(10*time.Second)) {
		t.Errorf("%v %v", when, err)
	}
}

func TestResetBeforeAndAfter(t *testing.T) {
	for name, applied := range map[string]int{"reset": 0, "applied-reset": 1} {
		c := open(t, iidtest.Config{})
		c.service.SetFaults(plan(t, name))
		// A new connection: on a kept one, the transport would try again by itself.
		c.client.Transport.(*http.Transport).DisableKeepAlives = true
		got := c.add("t", "x")
		if !errors.Is(got.err, syscall.ECONNRESET) || c.service.Count("t") != applied {
			t.Errorf("%s: %v, %d applied", name, got, c.service.Count("t"))
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, bytes := range []int{0, 5, 1_000_000} {
		c := open(t, iidtest.Config{})
		c.service.SetFaults(iidtest.Plan{Fault: iidtest.Truncated(bytes)})
		got := c.add("t", "x")
		want := `{"results":[{}]}`
		want = want[:min(bytes, len(want))]
		if !errors.Is(got.err, io.ErrUnexpectedEOF) || got.body != want || c.service.Count("t") != 1 {
			t.Errorf("after %d: %v", bytes, got)
		}
	}
}

func TestMangledAnswers(t *testing.T) {
	c := open(t, iidtest.Config{})
	for name, want := range map[string]string{
		"short-list":       `{"results":[{}]}`,
		"long-list":        `{"results":[{},{},{}]}`,
		"null-item":        `{"results":[null,{}]}`,
		"number-error":     `{"results":[{"error":5},{}]}`,
		"unknown-field":    `{"results":[{"status":"accepted"},{}]}`,
		"duplicate-key":    `{"results":[{"error":"INTERNAL","error":"NOT_FOUND"},{}]}`,
		"bad-utf8":         "{\"results\":[{\"error\":\"\xff\xfe\"},{}]}",
		"trailing-comma":   "{\"results\":[{},{},]}\n",
		"trailing-garbage": "{\"results\":[{},{}]}\n<!-- served by gfe -->",
		"empty-object":     `{}`,
		"empty-body":       ``,
		"html":             "<!DOCTYPE html><title>Sign in</title>\n",
		"error-200":        `{"error":"INTERNAL"}`,
	} {
		c.service.Reset()
		c.service.SetFaults(plan(t, name))
		got := c.add("t", "x", "y")
		if got.status != 200 || got.body != want || got.err != nil {
			t.Errorf("%s: %v", name, got)
		}
		if c.service.Count("t") != 2 {
			t.Errorf("%s: %d applied", name, c.service.Count("t"))
		}
	}
}

func TestRedirectGoesElsewhere(t *testing.T) {
	c := open(t, iidtest.Config{})
	c.service.SetFaults(iidtest.Plan{Fault: iidtest.Redirected("http://other.invalid/x")})
	if got := c.add("t", "x"); got.status != 307 || got.header.Get("Location") != "http://other.invalid/x" {
		t.Errorf("%v", got)
	}
}

// The slow faults run on fake time, without a network.
func TestSlowFaults(t *testing.T) {
	for name, want := range map[string]time.Duration{"slow+40s": 40 * time.Second, "drip+2s": 34 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			service := iidtest.New(iidtest.Config{AnyBearer: true, Faults: []iidtest.Plan{plan(t, name)}})
			began := time.Now()
			w := serve(t, service, "t", "x")
			if took := time.Since(began); took != want || w.Body.String() != `{"results":[{}]}`+"\n" {
				t.Errorf("%s: %s after %v", name, w.Body, took)
			}
		})
	}
}

func serve(t testing.TB, h http.Handler, topic string, tokens ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/iid/v1:batchAdd", strings.NewReader(batchBody(t, topic, tokens)))
	r.Header.Set("Authorization", "Bearer any")
	r.Header.Set("access_token_auth", "true")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestEndlessBodyGoesOnUntilTheCallerLeaves(t *testing.T) {
	c := open(t, iidtest.Config{})
	c.service.SetFaults(iidtest.Plan{Fault: iidtest.Endless()})
	r, err := http.NewRequestWithContext(t.Context(), "POST", c.service.URL+"/iid/v1:batchAdd", strings.NewReader(batchBody(t, "t", []string{"x"})))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = c.header
	answer, err := c.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if n, err := io.CopyN(io.Discard, answer.Body, 10<<20); err != nil {
		t.Errorf("ended after %d bytes: %v", n, err)
	}
}

func TestEveryNamedFaultStrikes(t *testing.T) {
	for _, name := range iidtest.FaultNames() {
		p := plan(t, name[0]+"=first:1")
		if name[0] == "endless" || name[0] == "slow" || name[0] == "drip" {
			continue
		}
		t.Run(name[0], func(t *testing.T) {
			c := open(t, iidtest.Config{})
			sound := c.add("t", "x", "y")
			c.service.SetFaults(p)
			if got := c.add("t", "x", "y"); got.err == nil && got.status == sound.status && got.body == sound.body {
				t.Errorf("nothing went wrong: %v", got)
			}
			if got := c.add("t", "x", "y"); got.body != sound.body || got.err != nil {
				t.Errorf("and then: %v", got)
			}
			if c.service.FaultCounts()[p.Fault.Name] != 1 {
				t.Errorf("counts: %v", c.service.FaultCounts())
			}
		})
	}
}

func TestPlans(t *testing.T) {
	for text, want := range map[string]string{
		"503":                          "xxxxxxxxxxxx",
		"503=always":                   "xxxxxxxxxxxx",
		"503=first:3":                  "xxx.........",
		"503=every:4":                  "...x...x...x",
		"503=100%":                     "xxxxxxxxxxxx",
		"503@/iid/v1:batchAdd":         "xxxxxxxxxxxx",
		"503@/iid/v1:batchRemove":      "............",
		"503=every:4@/iid/v1:batchAdd": "...x...x...x",
	} {
		if got := struck(t, plan(t, text), 12); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	half := struck(t, plan(t, "503=50%#1"), 200)
	if n := strings.Count(half, "x"); n < 60 || n > 140 {
		t.Errorf("50 %% struck %d of 200", n)
	}
	if struck(t, plan(t, "503=50%#1"), 200) != half || struck(t, plan(t, "503=50%#2"), 200) == half {
		t.Error("a share must depend on its seed, and on nothing else")
	}
}

// struck shows with an x which of n calls a plan strikes.
func struck(t *testing.T, p iidtest.Plan, n int) string {
	t.Helper()
	service := iidtest.New(iidtest.Config{AnyBearer: true, Faults: []iidtest.Plan{p}})
	var marks bytes.Buffer
	for range n {
		mark := byte('.')
		if serve(t, service, "t", "x").Code != http.StatusOK {
			mark = 'x'
		}
		marks.WriteByte(mark)
	}
	return marks.String()
}

func TestFirstOfSeveralPlansWins(t *testing.T) {
	service := iidtest.New(iidtest.Config{AnyBearer: true})
	service.SetFaults(plan(t, "503=every:2"), plan(t, "500=every:3"))
	var statuses []int
	for range 6 {
		statuses = append(statuses, serve(t, service, "t", "x").Code)
	}
	if want := []int{200, 503, 500, 503, 200, 503}; !slices.Equal(statuses, want) {
		t.Errorf("got %v want %v", statuses, want)
	}
	service.SetFaults()
	if got := serve(t, service, "t", "x").Code; got != http.StatusOK {
		t.Errorf("without plans: %d", got)
	}
}

func TestFaultsLeaveTheTokenEndpointAloneUnlessTold(t *testing.T) {
	c := open(t, iidtest.Config{Faults: []iidtest.Plan{{Fault: iidtest.Refusal{Status: 503}.Fault()}}})
	if got := c.post("/token", ""); got.status != 400 {
		t.Errorf("%v", got)
	}
	c.service.SetFaults(plan(t, "503-empty@/token"))
	if got := c.post("/token", ""); got.status != 503 {
		t.Errorf("%v", got)
	}
}

func TestParseFaultRefusals(t *testing.T) {
	for _, text := range []string{
		"", "teapot", "399", "600", "503-yaml", "503=0%", "503=101%", "503=-1%", "503=NaN%", "503=x%", "503=2", "503=first",
		"503=first:0", "503=every:-1", "503=sometimes", "503#x", "truncated+x", "slow+x", "drip+1",
	} {
		if plan, err := iidtest.ParseFault(text); err == nil {
			t.Errorf("%q: %+v", text, plan)
		} else if !strings.Contains(err.Error(), text) {
			t.Errorf("%q: the error does not say so: %v", text, err)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("503-html+2=2.5%@/iid/v1:batchAdd#7")
	f.Add("truncated+100=first:3")
	f.Fuzz(func(t *testing.T, text string) {
		plan, err := iidtest.ParseFault(text)
		if err == nil && (plan.Fault.Name == "" || plan.Fault.Serve == nil) {
			t.Errorf("%q: no fault, no error", text)
		}
	})
}

// A fault of one's own: nothing in the package needs to know it.
func TestCustomFault(t *testing.T) {
	upper := iidtest.Mangled("shouting", func(a iidtest.Answer) iidtest.Answer {
		a.Body = bytes.ToUpper(a.Body)
		return a
	})
	c := open(t, iidtest.Config{Faults: []iidtest.Plan{{Fault: upper}}})
	if got := c.add("t", "x"); !json.Valid([]byte(got.body)) || !strings.Contains(got.body, "RESULTS") {
		t.Errorf("%v", got)
	}
}
