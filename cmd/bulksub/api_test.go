package main

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// A migration that was begun by the Instance ID API and is killed over and over goes on by its
// successor: every token has one result, and has moved.
func TestMigrationGoesOnByTheSuccessor(t *testing.T) {
	const rows = 4000
	for name, to := range places(t, rows) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t, scriptFate)
			draw := rand.New(rand.NewPCG(5, uint64(len(name))))
			before := append([]string{"subscribe", "--topic", "old", "--rate", "0", "--attempts", "2"}, places(t, rows)["csv"].args...)
			if code, s := p.run(before...); code != exitFailedRows {
				t.Fatalf("ended with %d: %+v", code, s)
			}
			args := append([]string{"migrate", "--from", "old", "--to", "new", "--rate", "0", "--attempts", "2", "--batch-size", "200"}, to.args...)
			p.KillRepeatedly(3, func() int64 { return 2 + draw.Int64N(6) }, args...)
			by := endpoints(p.Service.Calls())
			if by["batchAdd"] == 0 || by["fcmCreate"] > 0 {
				t.Fatalf("it was begun by %v", by)
			}
			p.KillRepeatedly(4, func() int64 { return 1 + draw.Int64N(900) }, append(args, "--api", "fcm")...)
			moved := endpoints(p.Service.Calls())
			// Without the flag it goes on as it was.
			if code, s := p.run(args...); code != exitFailedRows || s.Rows != rows {
				t.Fatalf("the last run ended with %d: %+v", code, s)
			}
			now := endpoints(p.Service.Calls())
			if now["batchAdd"] != moved["batchAdd"] || now["batchRemove"] != moved["batchRemove"] || now["fcmCreate"] == 0 || now["fcmDelete"] == 0 {
				t.Errorf("it was ended by %v", now)
			}
			if n := p.Service.Count("old"); n != 0 {
				t.Errorf("%d are left behind", n)
			}
			results, err := to.results()
			if err != nil {
				t.Fatal(err)
			}
			arrived(results, "old", "new")
			if diff := disagreement(p.Service, "new", results, rows); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The calls of a job that --api auto moves to the successor go over as many connections as those of one
// that asks for it.
func TestAutoOpensAsManyConnections(t *testing.T) {
	p := newProgram(t, nil)
	for _, api := range []string{apiFCM, apiAuto} {
		var mu sync.Mutex
		connections := make(map[string]bool)
		front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/iid/") {
				http.NotFound(w, r)
				return
			}
			mu.Lock()
			connections[r.RemoteAddr] = true
			mu.Unlock()
			p.Service.ServeHTTP(w, r)
		}))
		front.Config.Protocols = new(http.Protocols)
		front.Config.Protocols.SetHTTP1(true)
		front.Config.Protocols.SetUnencryptedHTTP2(true)
		front.Start()
		p.Service.URL = front.URL
		t.Cleanup(front.Close)
		code, s := p.run("subscribe", "--topic", "news", "--csv", writeTokens(t, 3000), "--results", filepath.Join(t.TempDir(), "results.csv"), "--rate", "0", "--api", api)
		if want := (manyCalls + 99) / 100; code != 0 || s.OK != 3000 || len(connections) != want {
			t.Errorf("--api %s: ended with %d over %d connections, want %d: %+v", api, code, len(connections), want, s)
		}
	}
}

// A project in which the API is not enabled is one sentence, and code 77, for a job and for the doctor.
func TestAPIThatIsNotEnabled(t *testing.T) {
	p := &program{Program: trial.New(t, iidtest.Config{FCM: iidtest.FCM{Disabled: true}}), t: t}
	const sentence = "the Firebase Cloud Messaging API is not enabled in it; enable it in the Google Cloud console"
	args := []string{"--csv", writeTokens(t, 300), "--results", filepath.Join(t.TempDir(), "results.csv"), "--api", apiFCM}
	var said bytes.Buffer
	code, s := p.heard(&said, append([]string{"subscribe", "--topic", "news", "--quiet"}, args...)...)
	if code != exitCredentials || s.Rows != 0 || strings.Count(said.String(), sentence) != 1 || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("ended with %d: %+v\n%s", code, s, &said)
	}
	if out, code := p.output(append([]string{"doctor"}, args...)...); code != exitCredentials || strings.Count(string(out), sentence) != 1 {
		t.Errorf("the doctor ends with %d: %s", code, out)
	}
}

// endpoints counts calls.
func endpoints(calls []iidtest.Call) map[string]int {
	n := make(map[string]int)
	for _, call := range calls {
		n[call.Endpoint]++
	}
	return n
}
