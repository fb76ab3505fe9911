package pipeline_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/bulksub/bulksub/pipeline"
)

// world is everything that is left to chance.
type world struct {
	seed     uint64
	rows     int
	pool     int // how many distinct tokens the rows share
	segment  int
	limit    int
	opts     pipeline.Options
	latency  time.Duration
	record   time.Duration
	faults   float64         // share of calls that bring no verdict
	cuts     []time.Duration // when the runs end, if they do
	lease    time.Duration   // 0: no leases
	poisoned bool
}

func drawWorld(t *rapid.T) world {
	return world{
		seed:    rapid.Uint64().Draw(t, "seed"),
		rows:    rapid.IntRange(0, 400).Draw(t, "rows"),
		pool:    rapid.IntRange(1, 400).Draw(t, "pool"),
		segment: rapid.IntRange(1, 150).Draw(t, "segment"),
		limit:   rapid.IntRange(1, 60).Draw(t, "limit"),
		opts: pipeline.Options{
			Rate:        rapid.SampledFrom([]float64{0, 20, 100, 1000}).Draw(t, "rate"),
			Concurrency: rapid.IntRange(1, 8).Draw(t, "concurrency"),
			BatchSize:   rapid.IntRange(1, 60).Draw(t, "batch"),
			Attempts:    rapid.IntRange(2, 5).Draw(t, "attempts"),
			Window:      rapid.SampledFrom([]int{1, 7, 50, 200, 0}).Draw(t, "window"),
			MaxRejected: 1,
		},
		latency: rapid.SampledFrom([]time.Duration{0, time.Millisecond, 300 * time.Millisecond, 20 * time.Second}).Draw(t, "latency"),
		record:  rapid.SampledFrom([]time.Duration{0, time.Millisecond, 2 * time.Second}).Draw(t, "record"),
		faults:  rapid.SampledFrom([]float64{0, 0.02, 0.3}).Draw(t, "faults"),
		cuts: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond
		}), 0, 4).Draw(t, "cuts"),
		lease:    rapid.SampledFrom([]time.Duration{0, 500 * time.Millisecond}).Draw(t, "lease"),
		poisoned: rapid.Bool().Draw(t, "poisoned"),
	}
}

// chains are lists of actions whose effects do not depend on the order of rows.
var chains = [][]pipeline.Action{
	{{Op: pipeline.Subscribe, Topic: "a"}},
	{{Op: pipeline.Subscribe, Topic: "b"}, {Op: pipeline.Unsubscribe, Topic: "x"}},
	{{Op: pipeline.Subscribe, Topic: "c"}, {Op: pipeline.Subscribe, Topic: "d"}, {Op: pipeline.Unsubscribe, Topic: "y"}},
	{{Op: pipeline.Import, Application: "app"}, {Op: pipeline.Subscribe, Topic: "e"}, {Op: pipeline.Unsubscribe, Topic: "z"}},
}

// topics are all of them; everybody is subscribed to some before a job.
var topics = map[string]bool{"a": false, "b": false, "c": false, "d": false, "e": false, "x": true, "y": true, "z": true}

// subscribed are the tokens of a topic before a job: those of the rows, and those that an import gives.
func (w world) subscribed(topic string) map[string]bool {
	tokens := map[string]bool{}
	for i := 0; topics[topic] && i < w.pool; i++ {
		tokens[fmt.Sprintf("t%d", i)], tokens[fmt.Sprintf("fcm-t%d", i)] = true, true
	}
	return tokens
}

func (w world) source() *rows {
	random := rand.New(rand.NewPCG(w.seed, 1))
	s := &rows{size: w.segment}
	for i := range w.rows {
		row := pipeline.Row{Key: strconv.Itoa(i), Token: fmt.Sprintf("t%d", random.IntN(w.pool)), Actions: chains[random.IntN(len(chains))]}
		switch random.IntN(30) {
		case 0:
			row.Token = "with space"
		case 1:
			row.Flaw = "null"
		}
		s.rows = append(s.rows, row)
	}
	return s
}

// fate is a pure function, and so the oracle as well.
func (w world) fate(token string, a pipeline.Action) fate {
	var h uint64 = w.seed
	for _, c := range token + a.Topic {
		h = (h ^ uint64(c)) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	switch h % 24 {
	case 0:
		return gone
	case 1:
		return bad
	case 2:
		return transient("INTERNAL", 1+int(h>>8)%(w.opts.Attempts-1))
	case 3:
		return transient("NEVER_HEARD_OF", 0)
	case 4:
		return exhausted(1)
	case 5:
		return denied
	case 6:
		if w.poisoned {
			return poisonous
		}
	}
	return live
}

// deed is an action that is carried out.
type deed struct {
	action pipeline.Action
	token  string
}

// expected is a row's one result, and what is carried out. The token that an import gives takes the further actions.
func (w world) expected(row pipeline.Row) (want verdict, done []deed) {
	first := row.Actions[0]
	want = verdict{token: row.Token, topic: first.Topic, op: first.Op, status: pipeline.Malformed}
	if row.Flaw != "" || pipeline.TokenFlaw(row.Token) != "" {
		return want, nil
	}
	token := row.Token
	for _, a := range row.Actions {
		want.topic, want.op = a.Topic, a.Op
		f := w.fate(token, a)
		switch {
		case f.poison:
			want.status, want.code = pipeline.Invalid, "INVALID_ARGUMENT"
			return want, done
		case f.outcome.Status != pipeline.OK && f.tries == 0:
			want.status, want.code = f.outcome.Status, f.outcome.Code
			return want, done
		}
		done = append(done, deed{a, token})
		if a.Op == pipeline.Import {
			want.registration = "fcm-" + token
			token = want.registration
		}
	}
	want.status = pipeline.OK
	return want, done
}

// verdict is what of a result does not depend on chance: how often a row was tried does.
type verdict struct {
	token, topic, registration, code string
	status                           pipeline.Status
	op                               pipeline.Op
}

// verdicts are those of the ledger, by key; a row with none or with several is an error.
func verdicts(source *rows, l *ledger) (map[string]verdict, error) {
	all := map[string]verdict{}
	for _, row := range source.rows {
		got := l.results[row.Key]
		if len(got) != 1 {
			return nil, fmt.Errorf("row %s has %d results", row.Key, len(got))
		}
		all[row.Key] = verdict{got[0].Token, got[0].Topic, got[0].RegistrationToken, got[0].Code, got[0].Status, got[0].Op}
	}
	if len(l.results) != len(source.rows) {
		return nil, fmt.Errorf("%d results for %d rows", len(l.results), len(source.rows))
	}
	return all, nil
}

func (w world) service() *service {
	random := rand.New(rand.NewPCG(w.seed, 2))
	s := &service{limit: w.limit, latency: w.latency, fate: w.fate}
	s.begin(pipeline.Action{}, nil)
	s.end(nil)
	for topic := range topics {
		s.topics[topic] = w.subscribed(topic)
	}
	s.trouble = func(int, pipeline.Action, []string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case random.Float64() >= w.faults:
			return nil
		case random.IntN(3) == 0:
			return callError(pipeline.Throttled, time.Duration(random.IntN(3))*time.Second)
		case random.IntN(2) == 0:
			return appliedError{callError(pipeline.Unavailable, 0)}
		}
		return callError(pipeline.Unavailable, 0)
	}
	return s
}

// live runs the job until it ends by itself.
func (w world) live() error {
	source, l, s := w.source(), newLedger(), w.service()
	l.latency = w.record
	for run := 0; ; run++ {
		s.calls = nil
		err := w.run(run, source, l, s)
		if wrong := w.checkRun(source, l, s); wrong != nil {
			return wrong
		}
		if err == nil && !l.reopen("CODE") {
			break
		}
		if run == 20 {
			s.trouble = nil
		}
		if err == nil {
			continue
		}
		if _, givenUp := errors.AsType[*pipeline.UnavailableError](err); !givenUp && !errors.Is(err, pipeline.ErrStopped) && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("run %d: %w", run, err)
		}
		if run > 30 {
			return fmt.Errorf("no end: %w", err)
		}
	}
	if err := w.check(source, l, s); err != nil {
		return err
	}
	return w.sameAsWhole(l, s)
}

// sameAsWhole runs the same job once more from its beginning, in one run that nothing cuts and no call fails of, and
// compares what the two leave behind.
func (w world) sameAsWhole(cut *ledger, served *service) error {
	w.cuts, w.faults, w.lease = nil, 0, 0
	source, l, s := w.source(), newLedger(), w.service()
	if err := w.run(0, source, l, s); err != nil {
		return fmt.Errorf("the uncut run: %w", err)
	}
	want, err := verdicts(source, l)
	if err != nil {
		return fmt.Errorf("the uncut run: %w", err)
	}
	got, err := verdicts(source, cut)
	if err != nil {
		return err
	}
	for key := range want {
		if got[key] != want[key] {
			return fmt.Errorf("row %s is %+v, and %+v in one run", key, got[key], want[key])
		}
	}
	for topic := range topics {
		if got, want := served.subscribers(topic), s.subscribers(topic); !slices.Equal(got, want) {
			return fmt.Errorf("topic %s has %d subscribers, and %d after one run", topic, len(got), len(want))
		}
	}
	return nil
}

func (w world) run(n int, source *rows, l *ledger, s *service) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opts, p := w.opts, l.process()
	if n < len(w.cuts) {
		stop := make(chan struct{})
		opts.Stop = stop
		end := func() { close(stop) }
		if n%2 == 0 {
			end = cancel
		}
		defer time.AfterFunc(w.cuts[n], end).Stop()
	}
	if w.lease > 0 {
		p.lease = func(int) *pipeline.Lease { return flickering(ctx, w.lease) }
	}
	return pipeline.Run(ctx, pipeline.Job{Source: source, Sink: p, Service: s}, opts)
}

// flickering is a lease that is renewed too late each time, by chance: at a fixed
// beat it could always be out when it is looked at.
func flickering(ctx context.Context, d time.Duration) *pipeline.Lease {
	lease := new(pipeline.Lease)
	var renew func()
	renew = func() {
		lease.Extend(time.Now().Add(d))
		if ctx.Err() == nil {
			time.AfterFunc(d+rand.N(d/2), renew)
		}
	}
	renew()
	return lease
}

// checkRun looks at what must hold of every run, however it ended.
func (w world) checkRun(source *rows, l *ledger, s *service) error {
	batch := min(w.limit, w.opts.BatchSize)
	if most := s.busiest(); w.opts.Rate > 0 && most > int(w.opts.Rate)+batch {
		return fmt.Errorf("%d operations in a second, more than %v and a batch of %d", most, w.opts.Rate, batch)
	}
	if s.callsMost > w.opts.Concurrency {
		return fmt.Errorf("%d calls at once", s.callsMost)
	}
	for _, c := range s.calls {
		if len(c.tokens) > batch || len(slices.Compact(slices.Sorted(slices.Values(c.tokens)))) != len(c.tokens) {
			return fmt.Errorf("%d tokens in a batch of %d, or not distinct", len(c.tokens), batch)
		}
	}
	window := cmp.Or(w.opts.Window, 32_000)
	if w.faults == 0 && l.mostHand > window+max(1, window/8) { // a fault may make rows leave without a result
		return fmt.Errorf("%d rows in hand, %d allowed", l.mostHand, window)
	}
	shares := map[string]int{}
	for _, row := range source.rows {
		shares[row.Token]++
		shares["fcm-"+row.Token]++
	}
	for token, n := range s.atOnce {
		if n > shares[token] {
			return fmt.Errorf("%s was in %d calls at once for %d rows", token, n, shares[token])
		}
	}
	return nil
}

// check compares results and state with the oracle's.
func (w world) check(source *rows, l *ledger, s *service) error {
	results, err := verdicts(source, l)
	if err != nil {
		return err
	}
	tokens := map[string]map[string]bool{}
	for topic := range topics {
		tokens[topic] = w.subscribed(topic)
	}
	for _, row := range source.rows {
		want, done := w.expected(row)
		if got := results[row.Key]; got != want {
			return fmt.Errorf("row %s is %+v, not %+v", row.Key, got, want)
		}
		for _, d := range done {
			switch d.action.Op {
			case pipeline.Subscribe:
				tokens[d.action.Topic][d.token] = true
			case pipeline.Unsubscribe:
				delete(tokens[d.action.Topic], d.token)
			}
		}
	}
	for topic, want := range tokens {
		if got := s.subscribers(topic); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			return fmt.Errorf("topic %s has %d subscribers, want %d", topic, len(got), len(want))
		}
	}
	return nil
}

// TestOneResultForEveryRow: P1, P2, P3, P5, P6 and P11, whatever happens: for any rows, outcomes, batch limits, actions,
// retries and cut points, the union of the runs equals one run.
func TestOneResultForEveryRow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, err := drawWorld(rt), error(nil)
		synctest.Test(t, func(*testing.T) { err = w.live() })
		if err != nil {
			rt.Fatal(err)
		}
	})
}
