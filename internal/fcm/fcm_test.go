package fcm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bulksub/bulksub/fcmclient"
	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/fcm"
	"github.com/bulksub/bulksub/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start gives a stand-in and the service over it, as it is used for its project.
func start(t *testing.T, cfg iidtest.Config) (*iidtest.Running, fcm.Service) {
	t.Helper()
	s, err := iidtest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, s.CredentialsJSON(s.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	credential, err := iidclient.CredentialsFile(file, true)
	if err != nil {
		t.Fatal(err)
	}
	c, err := fcmclient.New(fcmclient.Config{Endpoint: s.URL, Credential: credential, Project: credential.Project()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, fcm.Service{Client: c}
}

var (
	subscribe   = pipeline.Action{Op: pipeline.Subscribe, Topic: "news"}
	unsubscribe = pipeline.Action{Op: pipeline.Unsubscribe, Topic: "news"}
	info        = pipeline.Action{Op: pipeline.Info}
)

// TestVerdicts: what the fate of a token means for its row.
func TestVerdicts(t *testing.T) {
	for fate, want := range map[iidtest.Fate]pipeline.Outcome{
		iidtest.Live:         {Status: pipeline.OK},
		iidtest.Dead:         {Status: pipeline.NotFound, Code: "NOT_FOUND"},
		iidtest.Invalid:      {Status: pipeline.Invalid, Code: "INVALID_ARGUMENT"},
		iidtest.OtherProject: {Status: pipeline.Denied, Code: "PERMISSION_DENIED"},
		iidtest.Overloaded:   {Status: pipeline.TooManyTopics, Code: "RESOURCE_EXHAUSTED"},
	} {
		_, service := start(t, iidtest.Config{Fates: func(string) iidtest.Fate { return fate }})
		got, err := service.Call(t.Context(), subscribe, []string{"a:b"})
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%v: got %+v, %v, want %+v", fate, got, err, want)
		}
	}
}

func TestActions(t *testing.T) {
	s, service := start(t, iidtest.Config{})
	for _, a := range []pipeline.Action{subscribe, subscribe, info, unsubscribe, unsubscribe} {
		got, err := service.Call(t.Context(), a, []string{"a:b"})
		if err != nil || len(got) != 1 || got[0].Status != pipeline.OK {
			t.Fatalf("%s: %v %v", a.Op, got, err)
		}
		if today := time.Now().UTC().Format(time.DateOnly); a == info && got[0].Detail != `{"topics":{"news":"`+today+`"}}` {
			t.Errorf("detail %s", got[0].Detail)
		}
	}
	if n := s.Count("news"); n != 0 {
		t.Errorf("%d are subscribed", n)
	}
}

// TestDayThatIsNotSaid: it is left out, as it is of what the Instance ID API does not say.
func TestDayThatIsNotSaid(t *testing.T) {
	undated := iidtest.Mangled("undated", func(a iidtest.Answer) iidtest.Answer {
		a.Body = []byte(`{"topic_subscriptions":[{"topic_name":"news"}]}`)
		return a
	})
	_, service := start(t, iidtest.Config{Faults: []iidtest.Plan{{Fault: undated}}})
	got, err := service.Call(t.Context(), info, []string{"a:b"})
	if err != nil || got[0].Detail != `{"topics":{"news":""}}` {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestCallErrors: what a call without verdicts means for the job.
func TestCallErrors(t *testing.T) {
	for _, test := range []struct {
		fault, says string
		kind        pipeline.CallKind
		answered    bool
		after       time.Duration
	}{
		{fault: "404-object", kind: pipeline.Unavailable, answered: true, says: "does not say of what"},
		{fault: "404-html", kind: pipeline.Fatal, says: "the API is not there for it"},
		{fault: "403-html", kind: pipeline.Fatal, says: "--credentials"},
		{fault: "429-object+7", kind: pipeline.Throttled, answered: true, after: 7 * time.Second},
		{fault: "500-object", kind: pipeline.Unavailable, answered: true},
		{fault: "503", kind: pipeline.Unavailable},
		{fault: "502-html", kind: pipeline.Unavailable},
		{fault: "401-html=first:1", kind: pipeline.Unavailable},
		{fault: "redirect", kind: pipeline.Fatal, answered: true, says: "--endpoint"},
		{fault: "reset", kind: pipeline.Unavailable},
		{fault: "truncated+1", kind: pipeline.Unavailable},
		{fault: "trailing-garbage", kind: pipeline.Unavailable, answered: true},
	} {
		plan, err := iidtest.ParseFault(test.fault)
		if err != nil {
			t.Fatal(err)
		}
		_, service := start(t, iidtest.Config{Faults: []iidtest.Plan{plan}})
		_, err = service.Call(t.Context(), subscribe, []string{"a:b"})
		call, ok := errors.AsType[*pipeline.CallError](err)
		if !ok || call.Kind != test.kind || call.After != test.after || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %+v (%v), want %+v", test.fault, call, err, test)
		}
		if ok && test.kind != pipeline.Fatal && call.Answered != test.answered {
			t.Errorf("%s: answered is %v", test.fault, call.Answered)
		}
	}
}

// What cannot stand in a path is malformed and calls nobody; what the API does not have is
// the end of the job.
func TestWhatIsNotSent(t *testing.T) {
	s, service := start(t, iidtest.Config{})
	for _, a := range []pipeline.Action{subscribe, unsubscribe, info} {
		got, err := service.Call(t.Context(), a, []string{".."})
		if err != nil || got[0].Status != pipeline.Malformed || !strings.Contains(got[0].Detail, "only dots") {
			t.Errorf("%s: %+v %v", a.Op, got, err)
		}
	}
	_, err := service.Call(t.Context(), pipeline.Action{Op: pipeline.Import, Application: "com.example.app"}, []string{"aa"})
	if call, ok := errors.AsType[*pipeline.CallError](err); !ok || call.Kind != pipeline.Fatal {
		t.Error(err)
	}
	if calls := s.Calls(); len(calls) > 0 {
		t.Errorf("%d calls were made", len(calls))
	}
}
