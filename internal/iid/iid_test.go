package iid_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start gives a service and a client of it, over real HTTP.
func start(t *testing.T, cfg iidtest.Config) (*iidtest.Running, *iidclient.Client) {
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
	c, err := iidclient.New(iidclient.Config{Endpoint: s.URL, Credential: credential, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, c
}

var (
	subscribe   = pipeline.Action{Op: pipeline.Subscribe, Topic: "news"}
	unsubscribe = pipeline.Action{Op: pipeline.Unsubscribe, Topic: "news"}
)

func tokens(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = iidtest.Token(1, i)
	}
	return list
}

// TestVerdicts: each code's meaning for a row, in the order of the tokens.
func TestVerdicts(t *testing.T) {
	type outcome = pipeline.Outcome
	table := []struct {
		fate iidtest.Fate
		want outcome
	}{
		{iidtest.Live, outcome{Status: pipeline.OK}},
		{iidtest.Dead, outcome{Status: pipeline.NotFound, Code: "NOT_FOUND"}},
		{iidtest.Invalid, outcome{Status: pipeline.Invalid, Code: "INVALID_ARGUMENT"}},
		{iidtest.Overloaded, outcome{Status: pipeline.TooManyTopics, Code: "TOO_MANY_TOPICS"}},
		{iidtest.OtherProject, outcome{Status: pipeline.Denied, Code: "PERMISSION_DENIED"}},
		{iidtest.Always("UNAUTHENTICATED"), outcome{Status: pipeline.Denied, Code: "UNAUTHENTICATED"}},
		{iidtest.Transient(1), outcome{Status: pipeline.Failed, Code: "INTERNAL", Again: true}},
		{iidtest.Always("UNAVAILABLE"), outcome{Status: pipeline.Failed, Code: "UNAVAILABLE", Again: true}},
		{iidtest.Exhausted(1), outcome{Status: pipeline.Failed, Code: "RESOURCE_EXHAUSTED", Again: true, Exhausted: true}},
		{iidtest.Always("Quite UNHEARD of"), outcome{Status: pipeline.Failed, Code: "Quite UNHEARD of", Again: true}},
		{iidtest.Always("not_found"), outcome{Status: pipeline.Failed, Code: "not_found", Again: true}},
	}
	list := tokens(len(table))
	s, c := start(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return table[slices.Index(list, token)].fate }})
	got, err := iid.Service{Client: c}.Call(t.Context(), subscribe, list)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range table {
		if got[i] != row.want {
			t.Errorf("%+v, want %+v", got[i], row.want)
		}
	}
	if n := s.Count("news"); n != 1 {
		t.Errorf("%d are subscribed", n)
	}
}

func TestUnsubscribe(t *testing.T) {
	s, c := start(t, iidtest.Config{})
	service := iid.Service{Client: c}
	for _, a := range []pipeline.Action{subscribe, unsubscribe, unsubscribe} {
		if got, err := service.Call(t.Context(), a, tokens(3)); err != nil || len(got) != 3 || got[2].Status != pipeline.OK {
			t.Fatalf("%s: %v %v", a.Op, got, err)
		}
	}
	if n := s.Count("news"); n != 0 {
		t.Errorf("%d are subscribed", n)
	}
}

// TestCallErrors: what a call without verdicts means for the job.
func TestCallErrors(t *testing.T) {
	for fault, want := range map[string]pipeline.CallError{
		"400":           {Kind: pipeline.Refused, Code: "INVALID_ARGUMENT"},
		"400-object":    {Kind: pipeline.Refused, Code: "INVALID_ARGUMENT"},
		"400-html":      {Kind: pipeline.Unavailable},
		"401":           {Kind: pipeline.Unavailable, Code: "UNAUTHENTICATED"},
		"403":           {Kind: pipeline.Fatal, Code: "PERMISSION_DENIED"},
		"404":           {Kind: pipeline.Fatal, Code: "NOT_FOUND"},
		"405-empty":     {Kind: pipeline.Fatal},
		"408-empty":     {Kind: pipeline.Unavailable, Lingers: true},
		"413-empty":     {Kind: pipeline.Unavailable},
		"429":           {Kind: pipeline.Throttled, Code: "RESOURCE_EXHAUSTED"},
		"429-html+7":    {Kind: pipeline.Throttled, After: 7 * time.Second},
		"500":           {Kind: pipeline.Unavailable, Code: "INTERNAL"},
		"503-empty+120": {Kind: pipeline.Unavailable, After: 2 * time.Minute},
		"504-html":      {Kind: pipeline.Unavailable, Lingers: true},
		"redirect":      {Kind: pipeline.Fatal},
		"reset":         {Kind: pipeline.Unavailable, Lingers: true},
		"applied-reset": {Kind: pipeline.Unavailable, Lingers: true},
		"truncated+5":   {Kind: pipeline.Unavailable, Lingers: true},
		"short-list":    {Kind: pipeline.Unavailable},
		"long-list":     {Kind: pipeline.Unavailable},
		"unknown-field": {Kind: pipeline.Unavailable},
		"html":          {Kind: pipeline.Unavailable},
		"error-200":     {Kind: pipeline.Unavailable},
		"endless":       {Kind: pipeline.Unavailable},
	} {
		t.Run(fault, func(t *testing.T) {
			plan, err := iidtest.ParseFault(fault)
			if err != nil {
				t.Fatal(err)
			}
			_, c := start(t, iidtest.Config{Faults: []iidtest.Plan{plan}})
			outcomes, err := iid.Service{Client: c}.Call(t.Context(), subscribe, tokens(3))
			got, ok := errors.AsType[*pipeline.CallError](err)
			if !ok || outcomes != nil {
				t.Fatalf("%v, %v", outcomes, err)
			}
			if got.Kind != want.Kind || got.After != want.After || got.Code != want.Code || got.Lingers != want.Lingers {
				t.Errorf("kind %d, after %s, code %q, lingers %v (%v), want %d, %s, %q, %v",
					got.Kind, got.After, got.Code, got.Lingers, err, want.Kind, want.After, want.Code, want.Lingers)
			}
		})
	}
}

// TestRefusedCredentialIsFatal: a 401 is one forced refresh, then the end.
func TestRefusedCredentialIsFatal(t *testing.T) {
	plan, err := iidtest.ParseFault("401-html")
	if err != nil {
		t.Fatal(err)
	}
	_, c := start(t, iidtest.Config{Faults: []iidtest.Plan{plan}})
	for i, want := range []pipeline.CallKind{pipeline.Unavailable, pipeline.Fatal} {
		_, err := iid.Service{Client: c}.Call(t.Context(), subscribe, tokens(1))
		if got, ok := errors.AsType[*pipeline.CallError](err); !ok || got.Kind != want {
			t.Errorf("refusal %d: %v", i+1, err)
		}
	}
}

func TestWhatIsNeverSentIsFatal(t *testing.T) {
	_, c := start(t, iidtest.Config{})
	for name, call := range map[string]struct {
		action pipeline.Action
		tokens []string
	}{
		"an operation that is none": {pipeline.Action{Op: "praise", Topic: "news"}, tokens(1)},
		"a topic that is none":      {pipeline.Action{Op: pipeline.Subscribe, Topic: "no topic"}, tokens(1)},
		"too many tokens":           {subscribe, tokens(1001)},
	} {
		_, err := iid.Service{Client: c}.Call(t.Context(), call.action, call.tokens)
		if got, ok := errors.AsType[*pipeline.CallError](err); !ok || got.Kind != pipeline.Fatal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCancelledCall(t *testing.T) {
	_, c := start(t, iidtest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := iid.Service{Client: c}.Call(ctx, subscribe, tokens(1))
	if got, ok := errors.AsType[*pipeline.CallError](err); !ok || got.Kind != pipeline.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestRelation: on a single-token call a JSON error may be a verdict.
func TestRelation(t *testing.T) {
	for _, test := range []struct {
		fault string
		want  pipeline.Status // "": no verdict
		kind  pipeline.CallKind
	}{
		{"", pipeline.OK, 0},
		{"400", pipeline.Invalid, 0},
		{"403-object", pipeline.Denied, 0},
		{"404", pipeline.NotFound, 0},
		{"404-html", "", pipeline.Fatal},
		{"404-empty", "", pipeline.Fatal},
		{"403-html", "", pipeline.Fatal},
		{"429", "", pipeline.Throttled},
		{"503", "", pipeline.Unavailable},
		{"reset", "", pipeline.Unavailable},
	} {
		t.Run(test.fault, func(t *testing.T) {
			var cfg iidtest.Config
			if test.fault != "" {
				plan, err := iidtest.ParseFault(test.fault)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Faults = []iidtest.Plan{plan}
			}
			s, c := start(t, cfg)
			got, err := iid.Single{Client: c}.Call(t.Context(), subscribe, tokens(1))
			if call, failed := errors.AsType[*pipeline.CallError](err); failed != (test.want == "") || failed && call.Kind != test.kind {
				t.Fatalf("%v, %v", got, err)
			}
			if err == nil && got[0].Status != test.want {
				t.Errorf("%+v", got)
			}
			if (s.Count("news") == 1) != (test.want == pipeline.OK) {
				t.Errorf("%d are subscribed", s.Count("news"))
			}
		})
	}
}

func TestLimits(t *testing.T) {
	if got := (iid.Service{}).Limit(subscribe); got != 1000 {
		t.Errorf("a batch of %d", got)
	}
	if got := (iid.Service{}).Limit(info); got != 1 {
		t.Errorf("a call for info of %d", got)
	}
	if got := (iid.Single{}).Limit(subscribe); got != 1 {
		t.Errorf("a single call of %d", got)
	}
}
