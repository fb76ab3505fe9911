package main

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

func TestWilson(t *testing.T) {
	for _, test := range []struct {
		hits, n   int64
		low, high float64
	}{
		{0, 0, 0, 1}, {0, 10, 0, 0.2775}, {10, 10, 0.7225, 1}, {1, 2, 0.0945, 0.9055}, {95, 100, 0.8882, 0.9785}, {990, 1000, 0.9817, 0.9946},
	} {
		if low, high := wilson(test.hits, test.n); low != test.low || high != test.high {
			t.Errorf("%d of %d: %v to %v, want %v to %v", test.hits, test.n, low, high, test.low, test.high)
		}
	}
}

// TestWilsonBounds: a bound is a share from which what was seen is 1.96 standard errors away.
func TestWilsonBounds(t *testing.T) {
	for _, n := range []int64{10, 100, 1000, 10_000} {
		for hits := n / 10; hits < n; hits += n / 10 {
			low, high := wilson(hits, n)
			seen := float64(hits) / float64(n)
			for _, bound := range []float64{low, high} {
				errors := math.Abs(seen-bound) / math.Sqrt(bound*(1-bound)/float64(n))
				if math.Abs(errors-1.96) > 0.02 || low >= seen || high <= seen {
					t.Errorf("%d of %d: %v is %v standard errors away", hits, n, bound, errors)
				}
			}
		}
	}
}

func TestHold(t *testing.T) {
	in := func(topics ...string) iid.Facts {
		known := iid.Facts{Topics: map[string]string{}}
		for _, topic := range topics {
			known.Topics[topic] = "2026-01-02"
		}
		return known
	}
	move := []pipeline.Action{{Op: pipeline.Subscribe, Topic: "b"}, {Op: pipeline.Unsubscribe, Topic: "a"}}
	for _, test := range []struct {
		known iid.Facts
		want  bool
	}{{in("b"), true}, {in("b", "c"), true}, {in("a", "b"), false}, {in("a"), false}, {in(), false}, {iid.Facts{}, false}} {
		if got := hold(move, test.known); got != test.want {
			t.Errorf("a move from a to b, and the token is in %v: %v", test.known.Topics, got)
		}
	}
}

// TestVerifyKeepsTheRate: what is looked up counts as what is sent (P5).
func TestVerifyKeepsTheRate(t *testing.T) {
	const rate, batch = 500, 50
	p := newProgram(t, func(string) iidtest.Fate { return iidtest.Live })
	code, s := p.run("subscribe", "--topic", "news", "--csv", writeTokens(t, rate), "--rate", fmt.Sprint(rate), "--batch-size", fmt.Sprint(batch), "--verify", fmt.Sprint(rate))
	if code != exitDone || s.Verified == nil || s.Verified.Agree != rate {
		t.Fatalf("exit %d, %+v", code, s)
	}
	if most := p.Service.PeakOps(time.Second); most > rate+batch {
		t.Errorf("%d token operations within a second", most)
	}
}
