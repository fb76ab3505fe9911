package pipeline

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var seeds = flag.Uint64("seeds", 500, "how many seeds TestTime tries, some ten thousand a minute")

// TestTime: limiter, lease, back-off and brake by whatever a seed draws, in a time of their own.
func TestTime(t *testing.T) {
	for name, holds := range map[string]func(*rand.Rand) error{
		"limiter": limiterHolds, "lease": leaseHolds, "backoff": backoffHolds, "brake": brakeHolds,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range *seeds {
				var err error
				synctest.Test(t, func(*testing.T) { err = holds(rand.New(rand.NewPCG(seed, 0))) })
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

// sent is a call that was granted.
type sent struct {
	at time.Time
	n  int
}

// limiterHolds: whoever asks, however much, and whatever the service says, no second carries more than the highest
// ceiling that there was and one call (P5), and nothing goes while the service wants it held.
func limiterHolds(random *rand.Rand) error {
	ceiling := float64(50 + random.IntN(5000))
	most, largest := ceiling, 1+random.IntN(1000)
	l := NewLimiter(ceiling)
	var mu sync.Mutex
	var calls []sent
	var held time.Time // until when
	var wrong error
	var workers sync.WaitGroup
	for range 1 + random.IntN(8) {
		draw := rand.New(rand.NewPCG(random.Uint64(), 0))
		workers.Go(func() {
			for range 20 {
				n := 1 + draw.IntN(largest)
				g, err := l.Wait(context.Background(), n)
				mu.Lock()
				if err != nil || time.Now().Before(held) {
					wrong = fmt.Errorf("a call of %d went %v before the end of a hold: %v", n, time.Until(held), err)
				}
				calls = append(calls, sent{time.Now(), n})
				mu.Unlock()
				time.Sleep(time.Duration(draw.IntN(400)) * time.Millisecond)
				mu.Lock()
				switch draw.IntN(12) {
				case 0:
					after := time.Duration(draw.IntN(5)) * time.Second
					if l.Answered(context.Background(), g, Quota{Met: true, After: after}); time.Now().Add(after).After(held) {
						held = time.Now().Add(after)
					}
				case 1:
					ceiling := float64(50 + draw.IntN(5000))
					most = max(most, ceiling)
					l.SetRate(ceiling)
				default:
					l.Answered(context.Background(), g, Quota{})
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if busiest := busiestSecond(calls); float64(busiest) > most+float64(largest) {
		return fmt.Errorf("%d operations in a second, %v and %d are allowed", busiest, most, largest)
	}
	return wrong
}

func busiestSecond(calls []sent) (most int) {
	slices.SortFunc(calls, func(a, b sent) int { return a.at.Compare(b.at) })
	first, sum := 0, 0
	for _, c := range calls {
		for sum += c.n; c.at.Sub(calls[first].at) >= time.Second; first++ {
			sum -= calls[first].n
		}
		most = max(most, sum)
	}
	return most
}

// leaseHolds: a lease that is renewed late, early or never is held only before the end that was last agreed, and never
// again once it is lost.
func leaseHolds(random *rand.Rand) error {
	var l Lease
	var end time.Time
	lost := false
	for range 50 {
		switch random.IntN(8) {
		case 0:
			lost = true
			l.Lose()
		case 1, 2, 3:
			end = time.Now().Add(time.Duration(random.IntN(20)) * time.Second)
			l.Extend(end)
		}
		time.Sleep(time.Duration(random.IntN(10_000)) * time.Millisecond)
		if want := !lost && time.Now().Before(end); l.Held() != want || l.Lost() != lost {
			return fmt.Errorf("held %t, want %t, %v before its end", l.Held(), want, time.Until(end))
		}
	}
	return nil
}

// backoffHolds: waits grow with failures up to a minute, never fall below half of that, and what the service asks for is
// kept, up to patience and ten minutes.
func backoffHolds(random *rand.Rand) error {
	failures, chance := random.IntN(100), random.Float64()
	wait := backoff(failures, chance)
	whole := min(time.Minute, 500*time.Millisecond<<min(max(failures-1, 0), 20))
	if wait < whole/2 || wait > whole {
		return fmt.Errorf("%v after %d failures", wait, failures)
	}
	after, patience := time.Duration(random.Int64N(int64(100*time.Hour))), time.Duration(random.Int64N(int64(time.Hour)))
	least := min(after, patience, afterMost)
	if got := respect(after, patience, chance); got < least || got > least+least/10 {
		return fmt.Errorf("%v where %v was asked for and %v is the most", got, after, patience)
	}
	return nil
}

// brakeHolds: whatever the replies, it trips when enough is known and the share is exceeded, and only then.
func brakeHolds(random *rand.Rand) error {
	limit := random.Float64()
	b := newBrake(limit, nil)
	judged, rejected, share := 0, 0, random.Float64()
	for reply := 1; reply <= 20; reply++ {
		outcomes := make([]Outcome, 1+random.IntN(500))
		for i := range outcomes {
			outcomes[i].Status = OK
			if random.Float64() < share {
				outcomes[i].Status = []Status{Invalid, Denied}[random.IntN(2)]
				rejected++
			}
		}
		judged += len(outcomes)
		b.saw(outcomes)
		want := reply >= brakeReplies && judged >= brakeTokens && float64(rejected) > limit*float64(judged)
		if b.trips() != want {
			return fmt.Errorf("trips %t after %d replies with %d rejected of %d, limit %v", b.trips(), reply, rejected, judged, limit)
		}
	}
	return nil
}
