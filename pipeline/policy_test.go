package pipeline

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for _, test := range []struct {
		failures int
		least    time.Duration
		most     time.Duration
	}{
		{0, 250 * time.Millisecond, 500 * time.Millisecond},
		{1, 250 * time.Millisecond, 500 * time.Millisecond},
		{2, 500 * time.Millisecond, time.Second},
		{5, 4 * time.Second, 8 * time.Second},
		{7, 16 * time.Second, 32 * time.Second},
		{8, 30 * time.Second, time.Minute},
		{1000, 30 * time.Second, time.Minute},
	} {
		if got := backoff(test.failures, 0); got != test.least {
			t.Errorf("after %d failures at least %s, want %s", test.failures, got, test.least)
		}
		if got := backoff(test.failures, 1); got != test.most {
			t.Errorf("after %d failures at most %s, want %s", test.failures, got, test.most)
		}
	}
}

func TestRespect(t *testing.T) {
	for _, test := range []struct {
		after  time.Duration
		chance float64
		want   time.Duration
	}{
		{0, 1, 0},
		{-time.Hour, 1, 0},
		{10 * time.Second, 0, 10 * time.Second},
		{10 * time.Second, 1, 11 * time.Second},
		{87600 * time.Hour, 0, 10 * time.Minute},
	} {
		if got := respect(test.after, 20*time.Minute, test.chance); got != test.want {
			t.Errorf("respect(%s, %v) = %s, want %s", test.after, test.chance, got, test.want)
		}
	}
	if got := respect(time.Hour, time.Minute, 0); got != time.Minute {
		t.Errorf("a wait of an hour is %s with a minute's patience", got)
	}
}

func TestOutage(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	fail := func(kinds ...CallKind) outage {
		o := outage{patience: time.Minute}
		o.succeeded(at(0))
		for i, kind := range kinds {
			o.failed(at(i+1), &CallError{Kind: kind}, 2, 0)
		}
		return o
	}
	const u, q, x = Unavailable, Throttled, Refused
	for _, test := range []struct {
		name  string
		kinds []CallKind
		total bool
		until int // seconds; 0: none
		over  bool
	}{
		{"a failure for each worker", []CallKind{u, u}, false, 0, false},
		{"one more", []CallKind{u, u, u}, true, 3, false},
		{"quota", []CallKind{q, q, q, q}, false, 0, false},
		{"a refusal is a sign of life", []CallKind{u, u, u, x}, false, 0, false},
		{"patience at its end", append(make([]CallKind, 0), repeated(u, 61)...), true, 61, true},
		{"patience with quota too", repeated(q, 61), false, 0, true},
		{"no end for one who refuses", append(repeated(u, 60), x, u), false, 0, false},
	} {
		o := fail(test.kinds...)
		if o.total(2) != test.total || o.over(at(len(test.kinds))) != test.over || o.until.After(at(test.until)) != (test.until > 0) {
			t.Errorf("%s: total %v, until %v, over %v", test.name, o.total(2), o.until.Sub(start), o.over(at(len(test.kinds))))
		}
	}
}

// TestTogether: calls that were under way together and fail together begin one wait, the shortest;
// only those that went after it make the next one longer.
func TestTogether(t *testing.T) {
	start := time.Now()
	var o outage
	for range 3 + 20 {
		o.failed(start, &CallError{Kind: Unavailable}, 2, 0)
	}
	if wait := o.until.Sub(start); wait != backoff(1, 0) {
		t.Errorf("the first wait is %v", wait)
	}
	o.failed(o.until, &CallError{Kind: Unavailable}, 2, 0)
	if wait := o.until.Sub(start); wait != backoff(1, 0)+backoff(2, 0) {
		t.Errorf("the second one ends %v after the beginning", wait)
	}
}

// TestWaitIsNoOutage: the time in which no call went, for a pause or a low rate, is not
// held against the service.
func TestWaitIsNoOutage(t *testing.T) {
	start := time.Now()
	o := outage{patience: time.Minute}
	o.failed(start, &CallError{Kind: Unavailable}, 2, 0)
	later := start.Add(time.Hour)
	o.idled(later, time.Hour-30*time.Second)
	if o.over(later) {
		t.Error("an hour's pause is an outage")
	}
	if !o.over(later.Add(30 * time.Second)) {
		t.Error("a minute of failures is none")
	}
	for silent, moves := range map[time.Duration]time.Duration{-time.Second: 0, time.Second: 0, 10 * time.Second: 10 * time.Second} {
		o.failed(later, &CallError{Kind: Unavailable}, 2, 0)
		began := o.since
		o.idled(later.Add(silent), time.Hour)
		if moved := o.since.Sub(began); moved != moves {
			t.Errorf("a caller that waited an hour, of which %v were after another one failed, moves the outage by %v", silent, moved)
		}
	}
}

func repeated(kind CallKind, n int) []CallKind {
	kinds := make([]CallKind, n)
	for i := range kinds {
		kinds[i] = kind
	}
	return kinds
}

func TestBrake(t *testing.T) {
	ok, invalid, again := Outcome{Status: OK}, Outcome{Status: Invalid}, Outcome{Status: Failed, Again: true}
	reply := func(oks, invalids, agains int) []Outcome {
		var list []Outcome
		for range oks {
			list = append(list, ok)
		}
		for range invalids {
			list = append(list, invalid)
		}
		for range agains {
			list = append(list, again)
		}
		return list
	}
	for _, test := range []struct {
		name    string
		replies [][]Outcome
		doubts  bool
		trips   bool
	}{
		{"nothing seen", nil, true, false},
		{"two replies", [][]Outcome{reply(0, 100, 0), reply(0, 100, 0)}, true, false},
		{"three replies", [][]Outcome{reply(0, 100, 0), reply(0, 100, 0), reply(0, 100, 0)}, true, true},
		{"just half", [][]Outcome{reply(10, 10, 0), reply(10, 10, 0), reply(10, 10, 0)}, false, false},
		{"one more than half", [][]Outcome{reply(10, 10, 0), reply(10, 10, 0), reply(10, 11, 0)}, true, true},
		{"three tokens say little", [][]Outcome{reply(0, 1, 0), reply(0, 1, 0), reply(0, 1, 0)}, true, false},
		{"the undecided do not count", [][]Outcome{reply(8, 12, 100), reply(0, 0, 100), reply(0, 0, 100)}, true, true},
	} {
		b := brake{limit: 0.5}
		for _, r := range test.replies {
			b.saw(r)
		}
		if b.doubts() != test.doubts || b.trips() != test.trips {
			t.Errorf("%s: doubts %v, trips %v", test.name, b.doubts(), b.trips())
		}
	}
}

// TestBrakeJudgesTheWholeJob: a run that goes on with a job does not take its last
// part for the whole.
func TestBrakeJudgesTheWholeJob(t *testing.T) {
	bad := make([]Outcome, 1000)
	for i := range bad {
		bad[i].Status = Denied
	}
	for _, test := range []struct {
		before Counts
		trips  bool
	}{{nil, true}, {Counts{OK: 2000, Malformed: 9000, Failed: 9000}, true}, {Counts{OK: 4000}, false}, {Counts{OK: 4000, Invalid: 2000}, true}} {
		b := newBrake(0.5, test.before)
		for range brakeReplies {
			b.saw(bad)
		}
		if b.trips() != test.trips {
			t.Errorf("%v: trips %v", test.before, b.trips())
		}
	}
}

// TestBrakeWants: few calls go out until the brake can judge, and no fewer than it takes.
func TestBrakeWants(t *testing.T) {
	for _, test := range []struct {
		replies, judged, next, want int
	}{
		{next: 1000, want: 3},
		{next: 0, want: 3},
		{replies: 2, judged: 2000, next: 1000, want: 1},
		{next: 1, want: 20},
		{replies: 15, judged: 15, next: 1, want: 5},
		{replies: 30, judged: 19, next: 1, want: 1},
		{replies: 30, judged: 10, next: 100, want: 1},
		{next: 5, want: 4},
	} {
		b := newBrake(0.5, nil)
		b.replies, b.own.judged = test.replies, int64(test.judged)
		var next *batch
		if test.next > 0 {
			next = &batch{tokens: make([]string, test.next)}
		}
		if got := b.wants(next); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}
