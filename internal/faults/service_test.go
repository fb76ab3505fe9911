package faults

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// lie is an answer that says NOT_FOUND of every token, one result too few or too many.
func lie(results int) []byte {
	list := strings.Repeat(`{"error":"NOT_FOUND"},`, results)
	return []byte(`{"results":[` + strings.TrimSuffix(list, ",") + `]}`)
}

// undelivered are answers that say NOT_FOUND of every token, and must not be believed.
var undelivered = map[string]func(http.ResponseWriter, int){
	"cut short": func(w http.ResponseWriter, n int) {
		w.Header().Set("Content-Length", fmt.Sprint(len(lie(n))))
		w.Write(lie(n)[:len(lie(n))-1])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"one result too few":  func(w http.ResponseWriter, n int) { w.Write(lie(n - 1)) },
	"one result too many": func(w http.ResponseWriter, n int) { w.Write(lie(n + 1)) },
	"with status 500": func(w http.ResponseWriter, n int) {
		w.WriteHeader(http.StatusInternalServerError)
		w.Write(lie(n))
	},
	"twice": func(w http.ResponseWriter, n int) { w.Write(append(lie(n), lie(n)...)) },
	"a second list": func(w http.ResponseWriter, n int) {
		w.Write(append(bytes.TrimSuffix(lie(n), []byte("}")), `,"results":[]}`...))
	},
	"compressed and cut short": func(w http.ResponseWriter, n int) {
		w.Header().Set("Content-Encoding", "gzip")
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(lie(n))
		z.Close()
		w.Write(b.Bytes()[:b.Len()-8])
	},
}

// I3, F35, F43, F44: of answers that are not delivered whole and in order, none is believed, though each says of every
// token that it is gone.
func TestUndeliveredVerdicts(t *testing.T) {
	t.Parallel()
	for name, answer := range undelivered {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFileScene(t, iidtest.Config{Fates: trial.Mixed.Fate}, 2000)
			s.Service.SetFaults(iidtest.Plan{Every: 3, Fault: iidtest.Fault{Name: name, Serve: func(w http.ResponseWriter, _ *http.Request, next func() iidtest.Answer) {
				var body struct{ Results []json.RawMessage }
				json.Unmarshal(next().Body, &body)
				w.Header().Set("Content-Type", "application/json")
				answer(w, len(body.Results))
			}}})
			s.finish(trial.Mixed)
			reached(t, "such answers", s.Service.FaultCounts()[name], 5)
		})
	}
}

// F36: answers that grow without end, expand without end, or come a byte at a time: each call ends, and the process stays
// small (I14).
func TestAnswersWithoutEnd(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write([]byte(`{"results":[{}`))
	for range 1 << 8 {
		z.Write(bytes.Repeat([]byte(`,{}`), 1<<18))
	}
	z.Close()
	s := newFileScene(t, iidtest.Config{Fates: trial.Mixed.Fate}, 1500)
	s.Service.SetFaults(
		iidtest.Plan{Every: 5, Fault: iidtest.Endless()},
		iidtest.Plan{Every: 7, Fault: iidtest.Dripping(100 * time.Millisecond)},
		iidtest.Plan{Every: 6, Fault: iidtest.Fault{Name: "bomb", Serve: func(w http.ResponseWriter, _ *http.Request, next func() iidtest.Answer) {
			next()
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}}})
	s.Env = []string{"BULKSUB_TIMEOUT=1s"}
	s.finish(trial.Mixed)
	for _, name := range []string{"endless", "drip+100ms", "bomb"} {
		reached(t, name, s.Service.FaultCounts()[name], 1)
	}
	if peak := s.Peak.Load(); peak == 0 || peak > 96<<10 {
		t.Errorf("the process became %d KiB large", peak)
	}
	if files := s.Files.Load(); files == 0 || files > 32 {
		t.Errorf("the process had %d files open", files)
	}
}

// F42: the access token lives for seconds, is revoked in the middle of the job, and the token endpoint is in trouble: no
// token is judged by a 401.
func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	s := newFileScene(t, iidtest.Config{Fates: trial.Mixed.Fate, TokenLife: 2 * time.Second, Latency: iidtest.Latency{Fixed: 50 * time.Millisecond}}, 10_000)
	s.Faults("503=every:3@/token", "reset=every:4@/token")
	var calls, revoked atomic.Int64
	s.Each(func() {
		if calls.Add(1)%25 == 0 {
			revoked.Add(1)
			s.Service.RevokeTokens()
		}
	})
	s.finish(trial.Mixed)
	reached(t, "times the tokens were revoked", revoked.Load(), 3)
	refused, minted := 0, 0
	for _, call := range s.Service.Calls() {
		if call.Endpoint == "token" {
			minted++
		} else if call.Status == http.StatusUnauthorized {
			refused++
		}
	}
	reached(t, "calls were refused", refused, 1)
	reached(t, "tokens were asked for", minted, 4)
}

// F46: the service's name is unknown. What is said names the host, and no token.
func TestUnknownHost(t *testing.T) {
	t.Parallel()
	s := newFileScene(t, iidtest.Config{}, 10)
	s.Service.URL = "https://service.invalid"
	code, last := s.Run(s.args("--patience", "1s")...)
	if code != 69 || !strings.Contains(last.Words, "service.invalid") {
		t.Errorf("ended with %d: %s", code, last.Words)
	}
}
