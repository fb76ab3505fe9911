package sink

import (
	"cmp"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
)

// TestOneSyncOfATopic: while a process is at work on a sync of a topic, no other sync of that topic begins.
func TestOneSyncOfATopic(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	first, second, third := newPostgres(t, db, "first"), newPostgres(t, db, "second"), newPostgres(t, db, "third")
	held := func(p *Postgres, topic string) bool {
		t.Helper()
		_, err := p.Stage(t.Context(), wish(t, db, topic, some(topic, 1, 5)))
		held, ok := errors.AsType[*HeldError](err)
		if ok {
			wantText(t, held.Error(), "job first")
		} else {
			must(t, err)
		}
		return ok
	}
	const stale = `update bulksub.plans set opened_at = opened_at - interval '1 minute'`
	if held(first, "a") || !held(second, "a") || held(third, "b") {
		t.Error("after the first plan")
	}
	mustExec(t, db, stale)
	claim(t, first, 1)
	if !held(second, "a") {
		t.Error("beside a segment in hand")
	}
	must(t, first.Close())
	if held(second, "a") {
		t.Error("after the first process has gone")
	}
}

// TestNewTopicWaits: no topic comes under sync while a job is at work that may be changing it.
func TestNewTopicWaits(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	worker := newPostgres(t, db, "worker")
	claim(t, worker, 1)
	for i, test := range []struct {
		asked Asked
		held  bool
	}{
		{Asked{"command": "subscribe", "topic": "else, news"}, true},
		{Asked{"command": "subscribe", "topic column": "city"}, true},
		{Asked{"command": "migrate", "from": "else", "to": "news"}, true},
		{Asked{"command": "migrate", "from": "news", "to": "else"}, true},
		{Asked{"command": "subscribe", "topic": "else"}, false},
		{Asked{"command": "info", "topic": "news"}, false},
	} {
		mustExec(t, db, `update bulksub.jobs set asked = $1 where name = 'worker'`, test.asked)
		mustExec(t, db, `delete from bulksub.synced`)
		mustExec(t, db, `delete from bulksub.plans`)
		_, foreseen := Compare(t.Context(), db, asked, wish(t, db, "news", some("news", 1, 3)), "", time.Minute)
		sync := newPostgres(t, db, fmt.Sprint("sync", i))
		_, err := sync.Stage(t.Context(), wish(t, db, "news", some("news", 1, 3)))
		if _, held := errors.AsType[*HeldError](err); held != test.held {
			t.Errorf("beside %v: %v", test.asked, err)
		}
		if fmt.Sprint(foreseen) != fmt.Sprint(err) {
			t.Errorf("foreseen was %v, and then it is %v", foreseen, err)
		}
		if n := ask[int](t, db, `select count(*) from bulksub.synced`); (n == 0) != test.held {
			t.Errorf("beside %v, %d topics are under sync", test.asked, n)
		}
	}
}

// TestClaimWaitsForANewTopic: a job that claims a segment while a topic comes under sync announces its calls for the
// topic, though it knew of other topics only.
func TestClaimWaitsForANewTopic(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `insert into bulksub.synced (topic, kind) values ('else', 'k')`)
	p := newPostgres(t, db, "job")
	first := claim(t, p, 2)
	must(t, p.Record(t.Context(), results(first)))
	must(t, p.Finish(t.Context(), first))
	sync := transaction(t, db, fmt.Sprintf(`select pg_advisory_xact_lock(%d)`, membership), `insert into bulksub.synced (topic, kind) values ('news', 'k')`)
	announced := make(chan error, 1)
	go func() {
		_, err := p.Claim(t.Context(), plan(t, 2))
		announced <- cmp.Or(err, p.Announce(t.Context(), add("news"), []string{"t"}))
	}()
	for !ask[bool](t, db, waiting) {
		select {
		case err := <-announced:
			t.Fatalf("it has not waited: %v", err)
		default:
		}
	}
	must(t, sync.Commit(t.Context()))
	must(t, <-announced)
	wantBeliefs(t, db, "news t?")
}

// TestNewTopicWaitsForTheDead: no topic comes under sync while a call for it may be carried out whose end nobody has
// heard, though the job of that call has ended or another process goes on with it.
func TestNewTopicWaitsForTheDead(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*testing.T, *pgxpool.Pool, *Postgres){
		"no answer": func(t *testing.T, _ *pgxpool.Pool, p *Postgres) {
			c := claim(t, p, 1)
			must(t, p.Ended(t.Context(), add("news"), []string{"t"}, true))
			must(t, p.Record(t.Context(), results(c)))
			must(t, p.Finish(t.Context(), c))
		},
		"taken over": func(t *testing.T, db *pgxpool.Pool, p *Postgres) {
			claim(t, p, 1)
			mustExec(t, db, `update bulksub.segments set owner = 'somebody', lease_end = clock_timestamp()`)
			next := newPostgres(t, db, "job")
			c := claim(t, next, 1)
			must(t, next.Record(t.Context(), results(c)))
			must(t, next.Finish(t.Context(), c))
			must(t, next.Close())
		},
		"dead here": func(t *testing.T, db *pgxpool.Pool, p *Postgres) {
			claim(t, p, 1)
			mustExec(t, db, `update bulksub.segments set owner = 'somebody', process = $1`, dead(t))
			next := newPostgres(t, db, "job")
			c := claim(t, next, 1)
			must(t, next.Record(t.Context(), results(c)))
			must(t, next.Finish(t.Context(), c))
			must(t, next.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			p := newPostgres(t, db, "job")
			mustExec(t, db, `update bulksub.jobs set asked = asked || '{"topic": "news"}'`)
			p.job.Asked = Asked{"topic": "news"}
			leave(t, db, p)
			must(t, p.Close())
			_, err := newPostgres(t, db, "sync").Stage(t.Context(), wish(t, db, "news", some("news", 1, 3)))
			if held, ok := errors.AsType[*HeldError](err); !ok || held.Until.IsZero() {
				t.Fatalf("the topic is under sync: %v", err)
			}
			wantText(t, err.Error(), "what job job has sent may be carried out until ")
			mustExec(t, db, `update bulksub.jobs set unheard_until = clock_timestamp()`)
			stage(t, newPostgres(t, db, "late"), wish(t, db, "news", some("news", 1, 3)))
		})
	}
}
