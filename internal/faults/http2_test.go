package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// judgedAlike are tokens that both APIs judge with the same words.
var judgedAlike = iidtest.Mix{Dead: 0.05, Invalid: 0.02}

// framed is a job from a file by one of the APIs, over HTTP/2: 40 calls of a hundred tokens, or 4,000 of one.
type framed struct {
	*fileScene
	every   int // a fault at every so many answers is met five times or more
	atATime int // calls
}

func byEachAPI(t *testing.T, test func(t *testing.T, s framed)) {
	t.Parallel()
	for api, s := range map[string]framed{"iid": {every: 8, atATime: 8}, "fcm": {every: 400, atATime: 16}} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			s.fileScene = newFileScene(t, iidtest.Config{Fates: judgedAlike.Fate, Latency: iidtest.Latency{Fixed: 2 * time.Millisecond}}, 4000)
			s.Env = []string{"BULKSUB_API=" + api}
			test(t, s)
		})
	}
}

// finish runs the job to its end, and judges it.
func (s framed) finish(more ...string) {
	s.t.Helper()
	s.fileScene.finish(judgedAlike, append(more, "--concurrency", fmt.Sprint(s.atATime), "--attempts", "5")...)
}

// standIn is where the stand-in listens.
func (s framed) standIn() string { return strings.TrimPrefix(s.Service.URL, "http://") }

// F37: the service ends the connection over and over (GOAWAY), with calls under way on it.
func TestGoAway(t *testing.T) {
	byEachAPI(t, func(t *testing.T, s framed) {
		s.Service.SetFaults(iidtest.Plan{Every: s.every, Fault: iidtest.Fault{Name: "goaway", Serve: func(w http.ResponseWriter, _ *http.Request, next func() iidtest.Answer) {
			w.Header().Set("Connection", "close") // a GOAWAY in HTTP/2
			next().Send(w)
		}}})
		f := newFront(t, s.fileScene, s.standIn(), func() frameRule { return func(f frame) ([]byte, bool) { return f.raw, true } })
		s.finish()
		reached(t, "times the server said GOAWAY", f.goAways.Load(), 3)
		reached(t, "connections", f.conns.Load(), 3)
	})
}

// lateLimit tells the program how many streams the server takes when it has refused the first that was too many, as if
// the program had sent that before it could know.
func lateLimit() frameRule {
	var limits []byte // what the server has said, until the program knows it; for the server's direction
	agreed := false   // the program has, to what it was told in place of that; for the program's direction
	return func(f frame) ([]byte, bool) {
		switch {
		case f.limits():
			limits = f.raw
			return []byte{0, 0, 0, frameSettings, 0, 0, 0, 0, 0}, true // none
		case f.agrees() && !agreed:
			agreed = true
			return nil, true // a server that believes its limit known ends the connection of a program that passes it
		case f.refuses() && limits != nil:
			late := append(limits, f.raw...)
			limits = nil
			return late, true
		}
		return f.raw, true
	}
}

// F37: the server refuses the streams that are too many for it at a time.
func TestRefusedStreams(t *testing.T) {
	byEachAPI(t, func(t *testing.T, s framed) {
		server := httptest.NewUnstartedServer(s.Service.Server)
		server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: s.atATime / 4}
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
		t.Cleanup(server.Close)
		f := newFront(t, s.fileScene, server.Listener.Addr().String(), lateLimit)
		s.finish()
		reached(t, "streams were refused", f.refusals.Load(), 1)
	})
}

// F35: the connection is cut in the middle of an answer, with other calls under way on it that the service has done.
func TestConnectionCutInMidAnswer(t *testing.T) {
	byEachAPI(t, func(t *testing.T, s framed) {
		var answers, cuts atomic.Int64
		cut := func(f frame) ([]byte, bool) {
			if !f.answers() || answers.Add(1)%int64(s.every) != 0 {
				return f.raw, true
			}
			cuts.Add(1)
			return f.raw[:len(f.raw)-len(f.payload)/2], false
		}
		newFront(t, s.fileScene, s.standIn(), func() frameRule { return cut })
		s.finish()
		reached(t, "connections were cut", cuts.Load(), 3)
	})
}
