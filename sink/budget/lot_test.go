package budget

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestLateCallsAreNoBurst: P5, whenever the process comes to use a place that it took: what
// it does not use on time was not for others either.
func TestLateCallsAreNoBurst(t *testing.T) {
	const rate, places = 3000, 15_000
	synctest.Test(t, func(t *testing.T) {
		b := &Shared{lot: lot{size: 1, calls: places, next: time.Now(), step: time.Second * 101 / 100 / rate}}
		var sent []time.Time
		for chance := rand.New(rand.NewPCG(1, 2)); b.lot.calls > 100*rate/1000; {
			if chance.IntN(1000) == 0 {
				time.Sleep(time.Duration(chance.IntN(90)) * time.Millisecond)
			}
			_, at, err := b.place(t.Context(), 1)
			must(t, err)
			time.Sleep(time.Until(at))
			sent = append(sent, time.Now())
		}
		for i, at := range sent {
			end, _ := slices.BinarySearchFunc(sent, at.Add(time.Second), time.Time.Compare)
			if end-i > rate+1 {
				t.Fatalf("%d operations within a second", end-i)
			}
		}
		if len(sent) < places*8/10 {
			t.Errorf("only %d places were of use", len(sent))
		}
	})
}

// TestLatePlaceIsGivenUp: a process that was held up between its place and its call does not
// send beside those whose turn it is.
func TestLatePlaceIsGivenUp(t *testing.T) {
	for _, test := range []struct {
		late   time.Duration
		n      int
		rate   float64
		crowds bool
	}{
		{0, 1000, 3000, false},
		{160 * time.Millisecond, 1000, 3000, false},
		{170 * time.Millisecond, 1000, 3000, true},
		{40 * time.Millisecond, 1000, 100_000, false},
		{60 * time.Millisecond, 1000, 100_000, true},
		{time.Minute, 1000, 1, false},
		{time.Hour, 1000, math.Inf(1), false},
	} {
		if got := crowds(test.late, test.n, test.rate); got != test.crowds {
			t.Errorf("%v late at %v: %v", test.late, test.rate, got)
		}
	}
}

// TestLateAnswer: a process that was frozen while it asked does not take the place in the
// answer for one that is still to come.
func TestLateAnswer(t *testing.T) {
	b := new(Shared)
	for i, test := range []struct{ took, want time.Duration }{
		{3 * time.Millisecond, 0},
		{2 * time.Millisecond, 0},
		{5 * time.Millisecond, 3 * time.Millisecond},
		{20 * time.Second, 20*time.Second - 2300*time.Microsecond},
		{-time.Hour, 0}, // the database's clock was set
		{2 * time.Millisecond, 0},
		{5 * time.Millisecond, 3 * time.Millisecond},
	} {
		if got := b.later(test.took); got != test.want {
			t.Errorf("answer %d is late by %v, want %v", i, got, test.want)
		}
	}
}

// TestLongerWay: when the way to the database has become longer for good, as after a failover to another place, its
// answers are soon no longer taken for late ones.
func TestLongerWay(t *testing.T) {
	b := &Shared{nearest: time.Millisecond}
	for range 20 {
		b.later(200 * time.Millisecond)
	}
	if late := b.later(200 * time.Millisecond); late > mostLate {
		t.Errorf("late by %v", late)
	}
}
