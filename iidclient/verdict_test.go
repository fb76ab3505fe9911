package iidclient

import (
	"errors"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// noVerdict is the code of a refusal that says nothing of a token.
const noVerdict Code = "no verdict"

// verdictOf finds the code in the error of a call about one token.
func verdictOf(t *testing.T, err error) Code {
	t.Helper()
	var judged *TokenError
	var refused *StatusError
	switch {
	case err == nil:
		return CodeOK
	case !errors.As(err, &refused):
		t.Errorf("no answer: %v", err)
	case errors.As(err, &judged):
		if judged.Answer != refused {
			t.Errorf("the answer is not that of the verdict: %v", err)
		}
		return judged.Code
	}
	return noVerdict
}

// refusals of a call about one token, and what they say of it.
var refusals = map[string]Code{
	"400":        CodeInvalidArgument,
	"400-object": CodeInvalidArgument,
	"400-html":   noVerdict,
	"401":        noVerdict,
	"403":        CodePermissionDenied,
	"403-html":   noVerdict,
	"404":        CodeNotFound,
	"404-object": CodeNotFound,
	"404-html":   noVerdict,
	"404-empty":  noVerdict,
	"410":        noVerdict,
	"429":        noVerdict,
	"500":        noVerdict,
	"503-object": noVerdict,
	"redirect":   noVerdict,
}

func TestOnlyAJSONRefusalJudgesAToken(t *testing.T) {
	for name, want := range refusals {
		_, c := standIn(t, iidtest.Config{Faults: []iidtest.Plan{fault(t, name)}})
		if got := verdictOf(t, c.Subscribe(t.Context(), "a:b", "news")); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestARefusedBatchJudgesNoToken(t *testing.T) {
	for name := range refusals {
		_, c := standIn(t, iidtest.Config{Faults: []iidtest.Plan{fault(t, name)}})
		_, err := call(t, c, 1)
		if got := verdictOf(t, err); got != noVerdict {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestSubscribeIsJudged(t *testing.T) {
	fates := map[string]iidtest.Fate{
		"dead": iidtest.Dead, "bad": iidtest.Invalid, "other": iidtest.OtherProject, "full": iidtest.Overloaded,
	}
	s, c := standIn(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return fates[token] }})
	for token, want := range map[string]Code{
		"live": CodeOK, "dead": CodeNotFound, "bad": CodeInvalidArgument, "other": CodePermissionDenied, "full": CodeTooManyTopics,
	} {
		if got := verdictOf(t, c.Subscribe(t.Context(), token, "news")); got != want {
			t.Errorf("%s: got %q, want %q", token, got, want)
		}
	}
	if s.Count("news") != 1 {
		t.Errorf("%d are subscribed", s.Count("news"))
	}
}
