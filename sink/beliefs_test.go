package sink

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

func add(topic string) pipeline.Action {
	return pipeline.Action{Op: pipeline.Subscribe, Topic: topic}
}

func drop(topic string) pipeline.Action {
	return pipeline.Action{Op: pipeline.Unsubscribe, Topic: topic}
}

// did is the result of row i of the claim: the action was carried out for the token.
func did(c *pipeline.Claim, i int, token string, a pipeline.Action) pipeline.Result {
	return pipeline.Result{Claim: c, Key: keysOf(c.Segment)[i], Token: token, Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{a}}}
}

// fine is the result of a token that has nothing to do with the topics.
var fine = pipeline.Result{Token: "fine", Fate: &pipeline.Fate{Status: pipeline.OK}}

// wantBeliefs compares what is believed, as "topic token", with a question mark behind
// what is in doubt.
func wantBeliefs(t *testing.T, db *pgxpool.Pool, want ...string) {
	t.Helper()
	got := ask[[]string](t, db, `select coalesce(array_agg(topic || ' ' || token || case when doubted is not null then '?' else '' end order by topic, token), '{}') from bulksub.subscriptions`)
	if !slices.Equal(got, want) {
		t.Errorf("believed is %q, want %q", got, want)
	}
}

// TestBeliefs: what becomes of the topics a and b, which are under sync, by results of any kind.
func TestBeliefs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x7", 2048)
	for name, test := range map[string]struct {
		results []pipeline.Result
		want    []string
	}{
		"subscribed": {[]pipeline.Result{{Token: "new", Fate: &pipeline.Fate{
			Status: pipeline.OK, Done: []pipeline.Action{add("a")}}}}, []string{"a new", "a old", "b old"}},
		"unsubscribed": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{drop("a")}}}}, []string{"b old"}},
		"moved": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Status: pipeline.OK, Done: []pipeline.Action{add("b"), drop("a")}}}}, []string{"b old"}},
		"moved by half": {[]pipeline.Result{{Token: "new", Fate: &pipeline.Fate{Status: pipeline.Failed, Done: []pipeline.Action{add("b")}}}},
			[]string{"a old", "b new", "b old"}},
		"gone":                 {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{Topic: "else", Status: pipeline.NotFound}}, fine}, nil},
		"gone, and none is ok": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{Topic: "else", Status: pipeline.NotFound}}}, []string{"a old?", "b old?"}},
		"deleted": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Status: pipeline.OK, Done: []pipeline.Action{{Op: pipeline.WebDelete}}}}}, nil},
		"gone at the end": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{Status: pipeline.NotFound, Done: []pipeline.Action{add("b")}}}, fine}, nil},
		"refused":         {[]pipeline.Result{{Token: "new", Fate: &pipeline.Fate{Topic: "a", Status: pipeline.Denied}}}, []string{"a old", "b old"}},
		"refused and believed": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Op: pipeline.Subscribe, Topic: "a", Status: pipeline.Invalid}}}, []string{"a old?", "b old"}},
		"a removal refused": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Op: pipeline.Unsubscribe, Topic: "a", Status: pipeline.Denied}}}, []string{"a old?", "b old"}},
		"an add failed": {[]pipeline.Result{{Token: "new", Fate: &pipeline.Fate{
			Op: pipeline.Subscribe, Topic: "a", Status: pipeline.Failed}}}, []string{"a new?", "a old", "b old"}},
		"a removal failed": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Op: pipeline.Unsubscribe, Topic: "a", Status: pipeline.Failed}}}, []string{"a old?", "b old"}},
		"a move failed by half": {[]pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Op: pipeline.Unsubscribe, Topic: "a", Status: pipeline.Failed, Done: []pipeline.Action{add("b")}}}},
			[]string{"a old?", "b old"}},
		"another topic": {[]pipeline.Result{{Token: "new", Fate: &pipeline.Fate{
			Status: pipeline.OK, Done: []pipeline.Action{add("c")}}}}, []string{"a old", "b old"}},
		"another topic besides": {[]pipeline.Result{{Token: "new", Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{add("c"), add("a")}}}},
			[]string{"a new", "a old", "b old"}},
		"there and back": {[]pipeline.Result{{Token: "new", Fate: &pipeline.Fate{
			Status: pipeline.OK, Done: []pipeline.Action{add("a"), drop("a")}}}}, []string{"a old", "b old"}},
		"an import": {[]pipeline.Result{{Token: "apns", Fate: &pipeline.Fate{
			RegistrationToken: "new", Status: pipeline.OK, Done: []pipeline.Action{{Op: pipeline.Import}, add("a")}}}}, []string{"a new", "a old", "b old"}},
		"an imported one gone": {[]pipeline.Result{{Token: "apns", Fate: &pipeline.Fate{
			RegistrationToken: "old", Status: pipeline.NotFound, Done: []pipeline.Action{{Op: pipeline.Import}}}}, fine}, nil},
		"twice the same": {[]pipeline.Result{
			{Token: "new", Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{add("a")}}},
			{Token: "new", Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{add("a")}}},
		}, []string{"a new", "a old", "b old"}},
		"gone after it was added": {[]pipeline.Result{
			{Token: "old", Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{add("a")}}},
			{Token: "old", Fate: &pipeline.Fate{Status: pipeline.NotFound}},
		}, nil},
		"added after it was gone": {[]pipeline.Result{
			{Token: "old", Fate: &pipeline.Fate{Status: pipeline.NotFound}},
			{Token: "old", Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{add("a")}}},
		}, []string{"a old?"}},
		"longer than an index takes": {[]pipeline.Result{{Token: long, Fate: &pipeline.Fate{Status: pipeline.OK, Done: []pipeline.Action{add("a")}}}},
			[]string{"a old", "a " + long, "b old"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('a', 'k'), ('a', 'other'), ('b', 'k')`)
			mustExec(t, db, `insert into bulksub.subscriptions (topic, token, job_id) values ('a', 'old', 0), ('b', 'old', 0)`)
			p := newPostgres(t, db, "job")
			c := claim(t, p, 1)
			for i := range test.results {
				test.results[i].Claim, test.results[i].Key = c, keysOf(c.Segment)[i]
			}
			callAll(t, p, test.results)
			must(t, p.Record(t.Context(), test.results))
			wantBeliefs(t, db, test.want...)
		})
	}
}

// callAll makes the calls that the results tell of.
func callAll(t *testing.T, p *Postgres, results []pipeline.Result) {
	t.Helper()
	for _, r := range results {
		for _, a := range append(slices.Clone(r.Done), pipeline.Action{Op: r.Op, Topic: r.Topic}) {
			call(t, p, a, cmp.Or(r.RegistrationToken, r.Token))
		}
	}
}

// TestContested: two jobs at work change one subscription in opposite ways. In whatever order they announce and
// record it, nobody knows whose call the service carried out last. It stays in doubt until a third job has
// changed it alone.
func TestContested(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"+a", "+b", "a", "b"}, {"+a", "+b", "b", "a"}, {"+b", "+a", "a", "b"}, {"+b", "+a", "b", "a"}} {
		db := pgtest.New(t)
		mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
		mustExec(t, db, `insert into bulksub.subscriptions (topic, token, job_id) values ('news', 't', 99)`)
		jobs := map[string]*Postgres{"a": newPostgres(t, db, "a"), "b": newPostgres(t, db, "b"), "c": newPostgres(t, db, "c")}
		does := map[string]pipeline.Action{"a": add("news"), "b": drop("news"), "c": drop("news")}
		claims := make(map[string]*pipeline.Claim)
		for name, p := range jobs {
			claims[name] = claim(t, p, 1)
		}
		carry := func(name string) {
			c := claims[name]
			must(t, jobs[name].Ended(t.Context(), does[name], []string{"t"}, false))
			must(t, jobs[name].Record(t.Context(), []pipeline.Result{did(c, 0, "t", does[name])}))
		}
		for _, step := range order {
			if name, announced := strings.CutPrefix(step, "+"); announced {
				must(t, jobs[name].Announce(t.Context(), does[name], []string{"t"}))
			} else {
				carry(step)
			}
		}
		wantBeliefs(t, db, "news t?")
		mustExec(t, db, longAgo)
		must(t, jobs["c"].Announce(t.Context(), does["c"], []string{"t"}))
		carry("c")
		wantBeliefs(t, db)
	}
}

// TestRefusalEndsNoDoubt: a call that a killed process made long ago may have been carried out. A later call that is
// refused, because of its credential for example, does not tell.
func TestRefusalEndsNoDoubt(t *testing.T) {
	t.Parallel()
	for _, status := range []pipeline.Status{pipeline.Denied, pipeline.NotFound, pipeline.Failed} {
		db := pgtest.New(t)
		mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
		killed, refused, next := newPostgres(t, db, "killed"), newPostgres(t, db, "refused"), newPostgres(t, db, "next")
		claim(t, killed, 1)
		must(t, killed.Announce(t.Context(), add("news"), []string{"t"}))
		mustExec(t, db, `update bulksub.segments set lease_end = clock_timestamp()`)
		for range 2 {
			mustExec(t, db, longAgo)
			c := claim(t, refused, 2)
			call(t, refused, drop("news"), "t")
			must(t, refused.Record(t.Context(), []pipeline.Result{{Claim: c, Key: keysOf(c.Segment)[0], Token: "t", Fate: &pipeline.Fate{
				Op: pipeline.Unsubscribe, Topic: "news", Status: status}}}))
			wantBeliefs(t, db, "news t?")
		}
		mustExec(t, db, longAgo)
		c := claim(t, next, 1)
		call(t, next, drop("news"), "t")
		must(t, next.Record(t.Context(), []pipeline.Result{did(c, 0, "t", drop("news"))}))
		wantBeliefs(t, db)
	}
}

// TestUndoneMeanwhile: a row's result can come long after one of its calls. Two other jobs have done the opposite
// since, the second one when the doubt of that call was over, so that what is believed then is true. The late
// result may put it in doubt, and no more.
func TestUndoneMeanwhile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		does, opposite pipeline.Action
		since          []string
	}{{add("news"), drop("news"), nil}, {drop("news"), add("news"), []string{"news t"}}} {
		db := pgtest.New(t)
		mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
		slow := newPostgres(t, db, "slow")
		late := claim(t, slow, 1)
		call(t, slow, test.does, "t")
		for _, name := range []string{"first", "second"} {
			mustExec(t, db, longAgo)
			p := newPostgres(t, db, name)
			c := claim(t, p, 1)
			call(t, p, test.opposite, "t")
			must(t, p.Record(t.Context(), []pipeline.Result{did(c, 0, "t", test.opposite)}))
		}
		wantBeliefs(t, db, test.since...)
		must(t, slow.Record(t.Context(), []pipeline.Result{did(late, 0, "t", test.does)}))
		wantBeliefs(t, db, "news t?")
	}
}

func TestAnAcknowledgementMakesABeliefYoung(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
	mustExec(t, db, `insert into bulksub.subscriptions (topic, token, since, job_id) values ('news', 't11', 'epoch', 0), ('news', 't12', 'epoch', 0)`)
	p := newPostgres(t, db, "job")
	c := claim(t, p, 1)
	r := result(c, "11", pipeline.OK)
	r.Done = []pipeline.Action{add("news")}
	must(t, p.Record(t.Context(), []pipeline.Result{r}))
	if got := ask[string](t, db, `select string_agg(token, ' ') from bulksub.subscriptions where since > 'epoch' and job_id = $1`, p.Job().ID); got != "t11" {
		t.Errorf("young are %s", got)
	}
}

// TestBeliefsAreOneWithResults: results of a lost segment change no belief, and if a commit is cut, results and
// beliefs are written once all the same.
func TestBeliefsAreOneWithResults(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
	cutter, through := pgtest.NewCutter(t, db)
	p := newPostgres(t, through, "job")
	first, second := claim(t, p, 2), claim(t, p, 2)
	mustExec(t, db, `update bulksub.segments set fence = fence + 1 where number = 1`)
	var done []pipeline.Result
	for _, r := range append(results(first), results(second)...) {
		r.Done = []pipeline.Action{add("news")}
		done = append(done, r)
	}
	callAll(t, p, done)
	cutter.Arm(pgtest.CutAfter)
	must(t, p.Record(t.Context(), done))
	if cutter.Armed() {
		t.Fatal("no commit was cut")
	}
	wantBeliefs(t, db, "news t11?", "news t12?", "news t13?", "news t21", "news t22", "news t23")
	if got := recordedKeys(t, db); !slices.Equal(got, []string{"21", "22", "23"}) {
		t.Errorf("rows %v", got)
	}
}
