package iid_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

var importing = pipeline.Action{Op: pipeline.Import, Application: "com.example.app", Sandbox: true}

func apnsTokens(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = iidtest.APNsToken(1, i)
	}
	return list
}

// TestImportVerdicts: each code's meaning for a row, in the order of the tokens
// whatever that of the reply is.
func TestImportVerdicts(t *testing.T) {
	type outcome = pipeline.Outcome
	list := apnsTokens(8)
	table := []struct {
		fate iidtest.Fate
		want outcome
	}{
		{iidtest.Live, outcome{Status: pipeline.OK, RegistrationToken: iidtest.Minted("com.example.app", true, list[0])}},
		{iidtest.Always("Internal Server Error"), outcome{Status: pipeline.Failed, Code: "Internal Server Error", Again: true}},
		{iidtest.Transient(1), outcome{Status: pipeline.Failed, Code: "INTERNAL", Again: true}},
		{iidtest.Unminted, outcome{Status: pipeline.Failed, Code: "OK, no registration token", Again: true}},
		{iidtest.Always("Quite UNHEARD of"), outcome{Status: pipeline.Failed, Code: "Quite UNHEARD of", Again: true}},
		{iidtest.Invalid, outcome{Status: pipeline.Invalid, Code: "INVALID_ARGUMENT"}},
		{iidtest.Exhausted(1), outcome{Status: pipeline.Failed, Code: "RESOURCE_EXHAUSTED", Again: true, Exhausted: true}},
		{iidtest.Live, outcome{Status: pipeline.OK, RegistrationToken: iidtest.Minted("com.example.app", true, list[7])}},
	}
	s, c := start(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return table[slices.Index(list, token)].fate }})
	got, err := iid.Service{Client: c}.Call(t.Context(), importing, list)
	if err != nil || len(got) != len(list) {
		t.Fatal(got, err)
	}
	for i, row := range table {
		if got[i] != row.want {
			t.Errorf("%+v, want %+v", got[i], row.want)
		}
	}
	if n := len(s.Imports()); n != 2 {
		t.Errorf("%d are imported", n)
	}
}

// TestImportErrors: a call without verdicts imports nobody, and one that must not be
// sent ends the job.
func TestImportErrors(t *testing.T) {
	s, c := start(t, iidtest.Config{})
	service := iid.Service{Client: c}
	if got := service.Limit(importing); got != 100 {
		t.Errorf("an import of %d", got)
	}
	for name, tokens := range map[string][]string{"too many": apnsTokens(101), "no APNs token": {"1.2E+10"}} {
		outcomes, err := service.Call(t.Context(), importing, tokens)
		if got, ok := errors.AsType[*pipeline.CallError](err); !ok || got.Kind != pipeline.Fatal || outcomes != nil {
			t.Errorf("%s: %v, %v", name, outcomes, err)
		}
	}
	plan, err := iidtest.ParseFault("short-list")
	if err != nil {
		t.Fatal(err)
	}
	if s.SetFaults(plan); len(s.Calls()) > 0 {
		t.Errorf("%d calls were made", len(s.Calls()))
	}
	outcomes, err := service.Call(t.Context(), importing, apnsTokens(3))
	if got, ok := errors.AsType[*pipeline.CallError](err); !ok || got.Kind != pipeline.Unavailable || outcomes != nil {
		t.Errorf("a reply that is one short: %v, %v", outcomes, err)
	}
}
