package iidtest_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

func TestFates(t *testing.T) {
	fates := map[string]iidtest.Fate{
		"dead": iidtest.Dead, "bad": iidtest.Invalid, "other": iidtest.OtherProject,
		"full": iidtest.Overloaded, "shaky": iidtest.Transient(2), "busy": iidtest.Exhausted(1),
		"odd": iidtest.Always("NEWS_TO_ME"),
	}
	c := open(t, iidtest.Config{Fates: func(token string) iidtest.Fate { return fates[token] }})
	all := []string{"live", "dead", "bad", "other", "full", "shaky", "busy", "odd"}
	lasting := []string{"", "NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", "TOO_MANY_TOPICS"}
	for try, wavering := range [][]string{{"INTERNAL", "RESOURCE_EXHAUSTED"}, {"INTERNAL", ""}, {"", ""}} {
		want := append(append(slices.Clone(lasting), wavering...), "NEWS_TO_ME")
		if got := c.add("t", all...).codes(t); !slices.Equal(got, want) {
			t.Errorf("try %d: got %q want %q", try, got, want)
		}
	}
	if got := c.service.Subscribers("t"); !slices.Equal(got, []string{"busy", "live", "shaky"}) {
		t.Errorf("subscribed %q", got)
	}
	if got := c.remove("t", "full", "dead").codes(t); !slices.Equal(got, []string{"", "NOT_FOUND"}) {
		t.Errorf("remove: %q", got)
	}
}

func TestMalformedTokensNeverReachTheFates(t *testing.T) {
	c := open(t, iidtest.Config{Fates: func(token string) iidtest.Fate {
		if len(token) > 4096 || token == "" || strings.ContainsAny(token, " \t\n\x00\u00a0") {
			t.Errorf("asked for the fate of %.20q", token)
		}
		return iidtest.Live
	}})
	malformed := []string{"", " ", "a b", "long-enough-to-be-read-by-words and-more", "a\n", "\x00", "a\u00a0b", "a\u0085", strings.Repeat("x", 4097)}
	for i, code := range c.add("t", malformed...).codes(t) {
		if code != iidtest.CodeInvalidArgument {
			t.Errorf("%.20q: %q", malformed[i], code)
		}
	}
	fine := []string{strings.Repeat("x", 4096), `a"b\c`, "käse", "a"}
	for i, code := range c.add("t", fine...).codes(t) {
		if code != "" {
			t.Errorf("%.20q: %q", fine[i], code)
		}
	}
}

func TestPoisonRefusesTheWholeCall(t *testing.T) {
	c := open(t, iidtest.Config{Fates: func(token string) iidtest.Fate {
		return iidtest.Fate{Poison: token == "p"}
	}})
	if got := c.add("t", "a", "p", "b"); got.status != 400 || got.body != `{"error":"INVALID_ARGUMENT"}` {
		t.Errorf("got %v", got)
	}
	c.add("t", "b")
	if got := c.service.Subscribers("t"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("subscribed %q", got)
	}
}

func TestMixIsAnOracle(t *testing.T) {
	mix := iidtest.Mix{Dead: 0.1, Invalid: 0.1, OtherProject: 0.1, TooMany: 0.1, Unknown: 0.1, Transient: 0.1, Exhausted: 0.1, Tries: 2}
	c := open(t, iidtest.Config{Fates: mix.Fate})
	list := tokens(0, 1000)
	for i, code := range c.add("t", list...).codes(t) {
		if want := mix.Fate(list[i]).Code; code != want {
			t.Fatalf("token %d: %q, want %q", i, code, want)
		}
	}
}

func TestMixDealsItsShares(t *testing.T) {
	mix := iidtest.Mix{Dead: 0.05, Invalid: 0.01, OtherProject: 0.02, TooMany: 0.03, Unknown: 0.04, Transient: 0.1, Exhausted: 0.2, Poison: 0.001, Tries: 3}
	const n = 200_000
	got := map[iidtest.Fate]int{}
	for i := range n {
		got[mix.Fate(iidtest.Token(7, i))]++
	}
	for fate, share := range map[iidtest.Fate]float64{
		iidtest.Dead: 0.05, iidtest.Invalid: 0.01, iidtest.OtherProject: 0.02, iidtest.Overloaded: 0.03,
		iidtest.Always(iidtest.UnknownCode): 0.04, iidtest.Transient(3): 0.1, iidtest.Exhausted(3): 0.2,
		iidtest.Poison: 0.001, iidtest.Live: 0.549,
	} {
		spread := 5 * math.Sqrt(share*(1-share)/n)
		if have := float64(got[fate]) / n; math.Abs(have-share) > spread {
			t.Errorf("%+v: share %.4f, want %.4f ± %.4f", fate, have, share, spread)
		}
	}
	if reseeded := (iidtest.Mix{Dead: 0.5, Seed: 1}); !differ(iidtest.Mix{Dead: 0.5}.Fate, reseeded.Fate) {
		t.Error("the seed changes nothing")
	}
}

func differ(a, b iidtest.Fates) bool {
	return slices.ContainsFunc(tokens(0, 100), func(token string) bool { return a(token) != b(token) })
}
