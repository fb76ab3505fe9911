package sink

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sourcegraph/conc/pool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

// longAgo lets so much time pass that the call of a dead process can no longer be carried out.
const longAgo = `update bulksub.subscriptions set doubted = doubted - interval '10 minutes'`

// TestCallOfTheDead: a call that a killed process made a moment ago may be carried out after the call of
// the next process. A call that it made long ago cannot.
func TestCallOfTheDead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ then, want string }{{`select`, "news t?"}, {longAgo, "news t"}} {
		db := pgtest.New(t)
		mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
		killed, next := newPostgres(t, db, "killed"), newPostgres(t, db, "next")
		claim(t, killed, 1)
		must(t, killed.Announce(t.Context(), drop("news"), []string{"t"}))
		mustExec(t, db, `update bulksub.segments set lease_end = clock_timestamp()`)
		mustExec(t, db, test.then)
		c := claim(t, next, 1)
		call(t, next, add("news"), "t")
		must(t, next.Record(t.Context(), []pipeline.Result{did(c, 0, "t", add("news"))}))
		wantBeliefs(t, db, test.want)
	}
}

// TestItsOwnDead: a call of another process of the same job, or one of this process that got no answer, may
// also be carried out after this one.
func TestItsOwnDead(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testing.T, *pgxpool.Pool, *Postgres) *Postgres{
		"another process": func(t *testing.T, db *pgxpool.Pool, p *Postgres) *Postgres {
			mustExec(t, db, `update bulksub.segments set owner = 'somebody', lease_end = clock_timestamp()`)
			return newPostgres(t, db, "job")
		},
		"no answer": func(t *testing.T, _ *pgxpool.Pool, p *Postgres) *Postgres {
			must(t, p.Ended(t.Context(), drop("news"), []string{"t"}, true))
			return p
		},
		"an answer": func(t *testing.T, _ *pgxpool.Pool, p *Postgres) *Postgres {
			must(t, p.Ended(t.Context(), drop("news"), []string{"t"}, false))
			return p
		},
	} {
		for _, then := range []string{`select`, longAgo} {
			db := pgtest.New(t)
			mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k'); insert into bulksub.subscriptions (topic, token, job_id) values ('news', 't', 0)`)
			p := newPostgres(t, db, "job")
			c := claim(t, p, 2)
			must(t, p.Announce(t.Context(), drop("news"), []string{"t"}))
			if next := lose(t, db, p); next != p {
				p, c = next, claim(t, next, 2)
			}
			mustExec(t, db, then)
			call(t, p, drop("news"), "t")
			must(t, p.Record(t.Context(), []pipeline.Result{did(c, 0, "t", drop("news"))}))
			if name == "an answer" || then == longAgo {
				wantBeliefs(t, db)
			} else {
				wantBeliefs(t, db, "news t?")
			}
		}
	}
}

// TestUnansweredTwin: two rows have the same token, and the call for one of them gets no answer. The answer
// for the other row does not end the doubt.
func TestUnansweredTwin(t *testing.T) {
	t.Parallel()
	for _, want := range []pipeline.Action{drop("news"), add("news")} {
		db := pgtest.New(t)
		mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k'); insert into bulksub.subscriptions (topic, token, job_id) values ('news', 't', 0)`)
		p := newPostgres(t, db, "job")
		c := claim(t, p, 2)
		for range 2 {
			must(t, p.Announce(t.Context(), want, []string{"t"}))
		}
		must(t, p.Ended(t.Context(), want, []string{"t"}, false))
		must(t, p.Record(t.Context(), []pipeline.Result{did(c, 0, "t", want)}))
		must(t, p.Ended(t.Context(), want, []string{"t"}, true))
		must(t, p.Record(t.Context(), []pipeline.Result{did(c, 1, "t", want)}))
		wantBeliefs(t, db, "news t?")
	}
}

// TestTwinWithoutAnAnswer: a call that got no answer counts as under way until its doubt is stored, since the
// process may be killed in between.
func TestTwinWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
	p := newPostgres(t, db, "job")
	c := claim(t, p, 1)
	call(t, p, add("news"), "t")
	must(t, p.Announce(t.Context(), add("news"), []string{"t"}))
	tx := transaction(t, db, `select from bulksub.jobs for update`)
	noted := make(chan error)
	go func() { noted <- p.Ended(t.Context(), add("news"), []string{"t"}, true) }()
	for !ask[bool](t, db, blocked) {
		runtime.Gosched()
	}
	must(t, p.Record(t.Context(), []pipeline.Result{did(c, 0, "t", add("news"))}))
	wantBeliefs(t, db, "news t?")
	must(t, tx.Rollback(t.Context()))
	must(t, <-noted)
	wantBeliefs(t, db, "news t?")
}

// TestNotedAfterTheEnd: to note how a call ended may take as long as an outage of the database, until some time
// after the run has ended.
func TestNotedAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, end := context.WithCancel(t.Context())
		defer end()
		noting, cancel := outlive(run, time.Minute)
		defer cancel()
		time.Sleep(time.Hour)
		for _, wait := range []time.Duration{0, time.Minute - 1} {
			if time.Sleep(wait); noting.Err() != nil {
				t.Fatalf("over %s after the end", wait)
			}
			end()
		}
		time.Sleep(2 * time.Nanosecond)
		if noting.Err() == nil {
			t.Error("it goes on for ever")
		}
	})
}

// TestTwinUnderWay: two rows have the same token. The answer for one of them ends no doubt while the call for the
// other is under way, since nobody hears the end of that call if the process is killed. The last answer does.
func TestTwinUnderWay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		action pipeline.Action
		second pipeline.Status
		want   []string
	}{
		"added":              {add("news"), pipeline.OK, []string{"news t"}},
		"added, and refused": {add("news"), pipeline.Denied, []string{"news t?"}},
		"removed":            {drop("news"), pipeline.OK, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
			p := newPostgres(t, db, "job")
			c := claim(t, p, 1)
			must(t, p.Announce(t.Context(), test.action, []string{"t"}))
			call(t, p, test.action, "t")
			done := did(c, 0, "t", test.action)
			must(t, p.Record(t.Context(), []pipeline.Result{done}))
			wantBeliefs(t, db, "news t?")
			must(t, p.Ended(t.Context(), test.action, []string{"t"}, false))
			if done.Key, done.Status = keysOf(c.Segment)[1], test.second; done.Status != pipeline.OK {
				done.Op, done.Topic, done.Done = test.action.Op, test.action.Topic, nil
			}
			must(t, p.Record(t.Context(), []pipeline.Result{done}))
			wantBeliefs(t, db, test.want...)
		})
	}
}

// TestTwinAnnouncedMeanwhile: the same holds if the call for one row is announced while the result of the other
// row is being recorded.
func TestTwinAnnouncedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		action pipeline.Action
		since  []string
	}{{add("news"), []string{"news t1", "news t2"}}, {drop("news"), nil}} {
		db := pgtest.New(t)
		mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
		p := newPostgres(t, db, "job")
		c := claim(t, p, 1)
		tokens := ask[[]string](t, db, `select array_agg(token order by hashtextextended(token, 0)) from unnest('{t1,t2}'::text[]) as token`)
		call(t, p, test.action, tokens...)
		tx := transaction(t, db)
		mustExec(t, tx, `select from bulksub.subscriptions where token = $1 for update`, tokens[0])
		recorded := make(chan error)
		go func() {
			var done []pipeline.Result
			for i, token := range tokens {
				done = append(done, did(c, i, token, test.action))
			}
			recorded <- p.Record(t.Context(), done)
		}()
		for !ask[bool](t, db, blocked) {
			runtime.Gosched()
		}
		must(t, p.Announce(t.Context(), test.action, tokens[1:]))
		must(t, tx.Rollback(t.Context()))
		must(t, <-recorded)
		if n := ask[int](t, db, `select count(*) from bulksub.subscriptions where token = $1 and doubted is not null`, tokens[1]); n != 1 {
			t.Errorf("%v: no doubt of a call under way", test.action)
		}
		must(t, p.Ended(t.Context(), test.action, tokens[1:], false))
		must(t, p.Record(t.Context(), []pipeline.Result{did(c, 2, tokens[1], test.action)}))
		wantBeliefs(t, db, test.since...)
	}
}

// TestDoubtIsNotDrawnOut: a doubt lasts no longer than the unheard call may be carried out, however often the
// subscription is sent again meanwhile.
func TestDoubtIsNotDrawnOut(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
	killed := newPostgres(t, db, "killed")
	claim(t, killed, 1)
	must(t, killed.Announce(t.Context(), drop("news"), []string{"t"}))
	mustExec(t, db, `update bulksub.segments set lease_end = clock_timestamp()`)
	until := ask[time.Time](t, db, `select doubted from bulksub.subscriptions`)
	again := func(name string) {
		t.Helper()
		p := newPostgres(t, db, name)
		c := claim(t, p, 1)
		for range 2 {
			call(t, p, add("news"), "t")
		}
		must(t, p.Record(t.Context(), []pipeline.Result{did(c, 0, "t", add("news"))}))
		must(t, p.Close())
	}
	for _, name := range []string{"first", "second"} {
		again(name)
		wantBeliefs(t, db, "news t?")
		if now := ask[time.Time](t, db, `select doubted from bulksub.subscriptions`); !now.Equal(until) {
			t.Errorf("in doubt until %v, and after the %s call until %v", until, name, now)
		}
	}
	mustExec(t, db, longAgo)
	again("third")
	wantBeliefs(t, db, "news t")
}

// TestAnnounced: what a call is about to change is in doubt until a result says what has become of it.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x7", 2048)
	for name, test := range map[string]struct {
		action  pipeline.Action
		results []pipeline.Result
		want    []string
	}{
		"no end":        {add("a"), nil, []string{"a new?", "a old?", "b old"}},
		"another topic": {add("c"), nil, []string{"a old", "b old"}},
		"no topic":      {pipeline.Action{Op: pipeline.Import, Topic: "a"}, nil, []string{"a old", "b old"}},
		"one of two": {add("a"), []pipeline.Result{{Token: "new", Fate: &pipeline.Fate{
			Status: pipeline.OK, Done: []pipeline.Action{add("a")}}}}, []string{"a new", "a old?", "b old"}},
		"removed": {drop("a"), []pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Status: pipeline.OK, Done: []pipeline.Action{drop("a")}}}}, []string{"a new?", "b old"}},
		"gone": {drop("a"), []pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Op: pipeline.Unsubscribe, Topic: "a", Status: pipeline.NotFound}}, fine}, []string{"a new?"}},
		"failed": {drop("a"), []pipeline.Result{{Token: "old", Fate: &pipeline.Fate{
			Op: pipeline.Unsubscribe, Topic: "a", Status: pipeline.Failed}}}, []string{"a new?", "a old?", "b old"}},
		"an add refused": {add("a"), []pipeline.Result{{Token: "new", Fate: &pipeline.Fate{
			Op: pipeline.Subscribe, Topic: "a", Status: pipeline.Denied}}}, []string{"a old?", "b old"}},
		"a removal refused": {drop("a"), []pipeline.Result{{Token: "new", Fate: &pipeline.Fate{Op: pipeline.Unsubscribe, Topic: "a", Status: pipeline.Denied}},
			{Token: "old", Fate: &pipeline.Fate{Op: pipeline.Unsubscribe, Topic: "a", Status: pipeline.Denied}}}, []string{"a old?", "b old"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('a', 'k'), ('b', 'k')`)
			mustExec(t, db, `insert into bulksub.subscriptions (topic, token, job_id) values ('a', 'old', 0), ('b', 'old', 0)`)
			p := newPostgres(t, db, "job")
			c := claim(t, p, 1)
			for range 2 {
				call(t, p, test.action, "new", "old")
			}
			for i := range test.results {
				test.results[i].Claim, test.results[i].Key = c, keysOf(c.Segment)[i]
			}
			must(t, p.Record(t.Context(), test.results))
			wantBeliefs(t, db, test.want...)
			must(t, p.Announce(t.Context(), add("b"), []string{long, "\x00", "\ufffd"}))
			if n := ask[int](t, db, `select count(*) from bulksub.subscriptions where since = '-infinity' and doubted is not null and length(token) = 4096`); n != 1 {
				t.Error("a long token is not in doubt")
			}
		})
	}
}

// TestNobodyCares: a call for a topic that is not under sync costs no query, though another topic is under sync.
// If the topic comes under sync, the next claim learns of it.
func TestNobodyCares(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('else', 'k')`)
	p := newPostgres(t, db, "job")
	claim(t, p, 2)
	p.believer.pool = nil
	must(t, p.Announce(t.Context(), add("a"), []string{"new"}))
	p.believer.pool = db
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('a', 'k')`)
	claim(t, p, 2)
	must(t, p.Announce(t.Context(), add("a"), []string{"new"}))
	wantBeliefs(t, db, "a new?")
}

// TestAnnouncedTogether: the calls that are announced while an announcement is being made go into the next one,
// and each learns how that one ended.
func TestAnnouncedTogether(t *testing.T) {
	t.Parallel()
	const calls = 100
	var g gathering
	first, on := make(chan *announcement), make(chan struct{})
	go g.say("a", []string{"0"}, func(said *announcement) {
		first <- said
		<-on
	})
	if said := <-first; len(said.tokens["a"]) != 1 {
		t.Errorf("%v at first", said.tokens)
	}
	var made atomic.Int32
	broken := errors.New("broken")
	all := pool.New().WithErrors()
	for i := range calls {
		all.Go(func() error {
			return g.say(fmt.Sprint("t", i%2), []string{fmt.Sprint(i)}, func(said *announcement) {
				made.Add(1)
				if len(said.tokens) != 2 || len(said.tokens["t0"])+len(said.tokens["t1"]) != calls {
					t.Errorf("%v", said.tokens)
				}
				said.err = broken
			}).err
		})
	}
	for waiting := 0; waiting < calls; runtime.Gosched() {
		g.mu.Lock()
		if waiting = 0; g.next != nil {
			waiting = len(g.next.tokens["t0"]) + len(g.next.tokens["t1"])
		}
		g.mu.Unlock()
	}
	close(on)
	if err := all.Wait(); made.Load() != 1 || strings.Count(err.Error(), "broken") != calls {
		t.Errorf("%d announcements, %v", made.Load(), err)
	}
}
