package iid_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

var (
	webImport  = pipeline.Action{Op: pipeline.WebImport}
	webRefresh = pipeline.Action{Op: pipeline.WebRefresh}
	webDelete  = pipeline.Action{Op: pipeline.WebDelete}
)

// push is the nth push subscription, with a token or none, as the subject of a row.
func push(t *testing.T, token string, n int) string {
	t.Helper()
	text, err := json.Marshal(iidtest.Push(1, n))
	if err != nil {
		t.Fatal(err)
	}
	p := iid.Push{Token: token}
	if err := json.Unmarshal(text, &p.Subscription); err != nil {
		t.Fatal(err)
	}
	return p.Subject()
}

func TestWeb(t *testing.T) {
	s, c := start(t, iidtest.Config{Web: iidtest.Web{Renew: 1}})
	service := iid.Service{Client: c, VAPIDKey: iidtest.VAPIDKey(1)}
	token := iidtest.WebToken(iidtest.Push(1, 1).Endpoint)
	for _, step := range []struct {
		action  pipeline.Action
		subject string
		want    pipeline.Outcome
	}{
		{webImport, push(t, "", 1), pipeline.Outcome{Status: pipeline.OK, RegistrationToken: token}},
		{webRefresh, push(t, token, 2), pipeline.Outcome{Status: pipeline.OK, RegistrationToken: iidtest.Renewed(token)}},
		{webDelete, iidtest.Renewed(token), pipeline.Outcome{Status: pipeline.OK}},
		{webDelete, iidtest.Renewed(token), pipeline.Outcome{Status: pipeline.NotFound, Code: "NOT_FOUND"}},
		{webRefresh, push(t, "unheard-of", 2), pipeline.Outcome{Status: pipeline.NotFound, Code: "NOT_FOUND"}},
	} {
		got, err := service.Call(t.Context(), step.action, []string{step.subject})
		if err != nil || len(got) != 1 || got[0] != step.want {
			t.Errorf("%s: %+v, %v; want %+v", step.action, got, err, step.want)
		}
	}
	if n := len(s.Pushes()); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
	for _, a := range []pipeline.Action{webImport, webRefresh, webDelete} {
		if n := service.Limit(a); n != 1 {
			t.Errorf("%s takes %d at a time", a, n)
		}
	}
}

// TestWebVerdicts: a refusal that may be about the path judges no subscription (P3).
func TestWebVerdicts(t *testing.T) {
	for fault, want := range map[string][3]pipeline.Status{ // of an import, a refresh, a deletion; "": no verdict
		"400-object": {pipeline.Invalid, pipeline.Invalid, pipeline.Invalid},
		"403-object": {pipeline.Denied, pipeline.Denied, pipeline.Denied},
		"404-object": {"", pipeline.NotFound, pipeline.NotFound},
		"404-html":   {},
		"403-html":   {},
		"503":        {},
		"truncated":  {},
	} {
		t.Run(fault, func(t *testing.T) {
			plan, err := iidtest.ParseFault(fault)
			if err != nil {
				t.Fatal(err)
			}
			_, c := start(t, iidtest.Config{Faults: []iidtest.Plan{plan}})
			service := iid.Service{Client: c, VAPIDKey: iidtest.VAPIDKey(1)}
			for i, call := range []struct {
				action  pipeline.Action
				subject string
			}{{webImport, push(t, "", 1)}, {webRefresh, push(t, "token", 1)}, {webDelete, "token"}} {
				got, err := service.Call(t.Context(), call.action, []string{call.subject})
				if _, failed := errors.AsType[*pipeline.CallError](err); failed != (want[i] == "") || !failed && got[0].Status != want[i] {
					t.Errorf("%s: %+v, %v", call.action, got, err)
				}
			}
		})
	}
}

// TestPushHoldsNoMore: the service refuses keys that it does not know.
func TestPushHoldsNoMore(t *testing.T) {
	var p iid.Push
	if err := json.Unmarshal([]byte(`{"endpoint":"e","expirationTime":1,"keys":{"auth":"a","p256dh":"p","more":1}}`), &p.Subscription); err != nil {
		t.Fatal(err)
	}
	if got := p.Subject(); got != `{"endpoint":"e","keys":{"auth":"a","p256dh":"p"}}` {
		t.Errorf("%s", got)
	}
	if p.String() != "push subscription" {
		t.Errorf("a push is shown as %s", p)
	}
}
