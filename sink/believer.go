package sink

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// believer keeps bulksub.subscriptions true to what one process does to topics under sync. It is told
// of each call before the call is made and when it has ended, and it reads the results that Record
// writes. What each of these does to a row of the table is said at [belief].
type believer struct {
	pool      *pgxpool.Pool
	retry     postgres.Retrier
	caller    caller
	underway  underway
	gathering gathering
	synced    atomic.Pointer[synced] // as of the last claim; nil: before the first
	someOK    bool                   // a row of the job is ok; false: none was when we last looked
}

var _ pipeline.Herald = (*Postgres)(nil)

func newBeliever(pool *pgxpool.Pool, retry postgres.Retrier, job int64, owner string) *believer {
	return &believer{
		pool:     pool,
		retry:    retry,
		caller:   newCaller(job, owner),
		underway: underway{calls: make(map[belief]int)},
	}
}

// caller is who makes the calls of this process, and which service it calls.
type caller struct {
	job      int64
	owner    string // as in the leases
	number   int64  // random, never 0: this process in bulksub.subscriptions
	service  string
	doubtFor time.Duration // how long after its announcement a call may still be carried out
}

const (
	// afterGivingUp is how long the service may still carry out a call whose caller has given up or
	// died. Google states no limit.
	afterGivingUp = time.Minute
	// usualDoubt is doubtFor where a call has the usual time limit.
	usualDoubt = pipeline.Fresh + time.Minute + afterGivingUp
)

// newCaller makes a caller of no service yet, whose calls have the usual time limit.
func newCaller(job int64, owner string) caller {
	return caller{job: job, owner: owner, number: 1 + rand.Int64N(math.MaxInt64), doubtFor: usualDoubt}
}

// calling is the same caller with a service, and a time limit of its calls.
func (c caller) calling(service string, longest time.Duration) caller {
	c.service, c.doubtFor = service, pipeline.Fresh+longest+afterGivingUp
	return c
}

// Calls says which service the job calls, and how long one call may take. Beliefs are about that
// service: results of calls to another service do not change them. Call it before [Postgres.Stage]
// and the first Claim.
func (b *believer) Calls(service string, longest time.Duration) {
	b.caller = b.caller.calling(service, longest)
}

// membership is the advisory lock between a sync that brings topics under sync and the transactions of
// Record. Those that do not know of the new topics yet are committed before the sync is. It is taken behind
// the COPY: the lock is one for the whole database, and a COPY whose client is frozen has no end.
const membership = 0x62756c6b_73756201

// believe applies to bulksub.subscriptions what the results say of topics under sync, in the
// transaction that writes the results. If no topic of the results is under sync, that costs one query.
func (b *believer) believe(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error {
	topics, gone := touched(results)
	if len(topics) == 0 && !gone {
		return nil
	}
	var some bool
	var synced []string
	var ask pgx.Batch
	ask.Queue(`select pg_advisory_xact_lock_shared($1)`, membership)
	ask.Queue(`
		select exists (select from bulksub.synced), array(select distinct topic from bulksub.synced where topic = any($1) and service = $2)`,
		topics, b.caller.service).
		QueryRow(func(row pgx.Row) error { return row.Scan(&some, &synced) })
	if err := tx.SendBatch(ctx, &ask).Close(); err != nil {
		return err
	}
	if len(synced) == 0 && !(some && gone) {
		return nil
	}
	plausible, err := b.plausible(ctx, tx, results)
	if err != nil {
		return err
	}
	said := read(results, synced)
	if err := b.settle(ctx, tx, said, plausible); err != nil {
		return err
	}
	return b.announceAgain(ctx, tx, said)
}

// plausible reports whether any row of the job is ok. A service that knows none of the tokens may be
// the wrong one: the tokens that it calls gone are then put in doubt and not forgotten.
func (b *believer) plausible(ctx context.Context, tx pgx.Tx, results []pipeline.Result) (bool, error) {
	if b.someOK || slices.ContainsFunc(results, func(r pipeline.Result) bool { return r.Status == pipeline.OK }) {
		b.someOK = true
		return true, nil
	}
	err := tx.QueryRow(ctx, `select exists (select from (`+countsOf("$1")+`) as counts where status = 'ok')`, b.caller.job).Scan(&b.someOK)
	return b.someOK, err
}

// settle applies the events. Gone tokens come first: what else is said of them was said later.
func (b *believer) settle(ctx context.Context, tx pgx.Tx, said news, plausible bool) error {
	var changes pgx.Batch
	b.settleGone(&changes, said, plausible)
	var topics, tokens [events][]string
	for about, e := range said.events {
		topics[e], tokens[e] = append(topics[e], about.topic), append(tokens[e], about.token)
	}
	for e := range events {
		if len(topics[e]) > 0 {
			b.settleEvent(&changes, e, topics[e], tokens[e])
		}
	}
	return tx.SendBatch(ctx, &changes).Close()
}

func (b *believer) settleGone(changes *pgx.Batch, said news, plausible bool) {
	if len(said.gone) == 0 {
		return
	}
	var gone []string
	for token := range said.gone {
		gone = append(gone, token)
	}
	if plausible {
		forgetTokens.queue(changes, pgx.NamedArgs{"tokens": gone, "service": b.caller.service})
		return
	}
	forgetNew.queue(changes, pgx.NamedArgs{"tokens": gone, "service": b.caller.service, "caller": b.caller.number})
	doubtTokens.queue(changes, pgx.NamedArgs{"tokens": gone, "service": b.caller.service})
}

func (b *believer) settleEvent(changes *pgx.Batch, e event, topics, tokens []string) {
	carriedOut := e == subscribed || e == unsubscribed
	bringBack.queue(changes, pgx.NamedArgs{"topics": topics, "tokens": tokens, "caller": b.caller.number, "carried_out": carriedOut})
	switch e {
	case subscribed, failed:
		remember.queue(changes, pgx.NamedArgs{
			"topics": topics, "tokens": tokens, "caller": b.caller.number, "job": b.caller.job, "failed": e == failed})
	case unsubscribed:
		forget.queue(changes, pgx.NamedArgs{"topics": topics, "tokens": tokens, "caller": b.caller.number, "refused": false})
		contradict.queue(changes, pgx.NamedArgs{"topics": topics, "tokens": tokens})
	case refused:
		forget.queue(changes, pgx.NamedArgs{"topics": topics, "tokens": tokens, "caller": b.caller.number, "refused": true})
	}
}

// announceAgain announces once more the calls that are under way for the beliefs that settle has just
// changed: two rows can have the same token, and one row's result must not end the doubt of the other
// row's call, whose end nobody hears of if this process is killed. An announcement that came before
// settle is counted as under way here, and a later one waits for the commit.
func (b *believer) announceAgain(ctx context.Context, tx pgx.Tx, said news) error {
	again := make(map[string][]string)
	for about := range said.events {
		if b.underway.has(about) {
			again[about.topic] = append(again[about.topic], about.token)
		}
	}
	for topic, tokens := range again {
		if _, err := tx.Exec(ctx, announced.sql, announced.with(b.caller.announcement(topic, tokens))...); err != nil {
			return err
		}
	}
	return nil
}
