package sink

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

// membership is the advisory lock between a sync that takes topics under its care
// and the commits of results: a commit that did not see the topics comes before.
const membership = 0x62756c6b_73756201

// believe keeps bulksub.subscriptions true: what the service has acknowledged for
// topics under sync goes there in the transaction of the results. Where no topic of
// the results is under sync, that costs one question.
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
	said := newBeliefs(results, synced)
	if err := b.settle(ctx, tx, said, plausible); err != nil {
		return err
	}
	return b.doubtAgain(ctx, tx, said)
}

// plausible reports whether any row of the job was ok. A service that knows none of the tokens may be the
// wrong one: what it says is gone is then only doubted.
func (b *believer) plausible(ctx context.Context, tx pgx.Tx, results []pipeline.Result) (bool, error) {
	if b.someOK || slices.ContainsFunc(results, func(r pipeline.Result) bool { return r.Status == pipeline.OK }) {
		b.someOK = true
		return true, nil
	}
	err := tx.QueryRow(ctx, `select exists (select from bulksub.records where job_id = $1 and status = 'ok')`, b.caller.job).Scan(&b.someOK)
	return b.someOK, err
}

// touched lists the topics of what was done or tried, and says whether a token was
// found to be gone.
func touched(results []pipeline.Result) (topics []string, gone bool) {
	seen := make(map[string]bool)
	touch := func(a pipeline.Action) {
		if onTopic(a) && !seen[a.Topic] {
			seen[a.Topic] = true
			topics = append(topics, a.Topic)
		}
	}
	for i := range results {
		r := &results[i]
		gone = gone || ended(r)
		for _, a := range r.Done {
			touch(a)
		}
		if r.Status != pipeline.OK {
			touch(pipeline.Action{Op: r.Op, Topic: r.Topic})
		}
	}
	return topics, gone
}

// ended reports whether the token is no more, since it was found to be gone or has been
// deleted.
func ended(r *pipeline.Result) bool {
	deleted := r.Status == pipeline.OK && slices.ContainsFunc(r.Done, func(a pipeline.Action) bool { return a.Op == pipeline.WebDelete })
	return deleted || r.Status == pipeline.NotFound
}

func onTopic(a pipeline.Action) bool {
	return a.Op == pipeline.Subscribe || a.Op == pipeline.Unsubscribe
}

// belief is what the service may hold: a subscription.
type belief struct{ topic, token string }

// word is what is known of a belief.
type word int

const (
	absent word = iota
	held
	// doubted is a belief of which nobody knows whether the service holds it: a call
	// failed, and may have been carried out. A sync sends it again if it is wanted, and
	// takes it back if not.
	doubted
	// unmoved is a belief whose call was refused: the service holds it if it held it before.
	unmoved
	words // how many there are
)

// beliefs is what results say of topics under sync.
type beliefs struct {
	gone  map[string]bool // tokens that are subscribed to nothing any more
	words map[belief]word
}

// newBeliefs reads the results from the last to the first: of what contradicts
// itself the last word counts. What was subscribed for a row is its registration
// token, if it was given one.
func newBeliefs(results []pipeline.Result, synced []string) beliefs {
	b := beliefs{gone: make(map[string]bool), words: make(map[belief]word)}
	for _, r := range slices.Backward(results) {
		token := storable(cmp.Or(r.RegistrationToken, r.Token))
		if ended(&r) {
			b.gone[token] = true
		}
		if b.gone[token] {
			continue
		}
		say := func(a pipeline.Action, w word) {
			about := belief{a.Topic, token}
			if _, known := b.words[about]; !known && onTopic(a) && slices.Contains(synced, a.Topic) {
				b.words[about] = w
			}
		}
		switch tried := (pipeline.Action{Op: r.Op, Topic: r.Topic}); {
		case r.Status == pipeline.Failed:
			say(tried, doubted)
		case r.Status != pipeline.OK:
			say(tried, unmoved)
		}
		for _, a := range slices.Backward(r.Done) {
			if a.Op == pipeline.Subscribe {
				say(a, held)
			} else {
				say(a, absent)
			}
		}
	}
	return b
}

// settle brings the table up to date. Gone tokens go first: what is held besides
// came later.
func (b *believer) settle(ctx context.Context, tx pgx.Tx, said beliefs, plausible bool) error {
	var gone []string
	for token := range said.gone {
		gone = append(gone, token)
	}
	var topics, tokens [words][]string
	for about, w := range said.words {
		topics[w], tokens[w] = append(topics[w], about.topic), append(tokens[w], about.token)
	}
	var changes pgx.Batch
	switch {
	case len(gone) == 0:
	case plausible:
		changes.Queue(forgetTokens, gone, b.caller.service)
	default:
		changes.Queue(forgetOurs, gone, b.caller.service, b.caller.number)
		changes.Queue(doubtTokens, gone, b.caller.service)
	}
	for w := range words {
		if len(topics[w]) == 0 {
			continue
		}
		changes.Queue(leave, topics[w], tokens[w], b.caller.number, w == held || w == absent)
		if w == held || w == doubted {
			changes.Queue(remember, topics[w], tokens[w], b.caller.number, b.caller.job, w == doubted)
		} else {
			changes.Queue(forget, topics[w], tokens[w], b.caller.number, w == unmoved)
		}
		if w == absent {
			changes.Queue(contradict, topics[w], tokens[w])
		}
	}
	return tx.SendBatch(ctx, &changes).Close()
}

// doubtAgain puts back in doubt what another row's call is still under way for: if this process is killed, nobody
// hears the end of that call. The last result ends the doubt. An announcement that came before settle is counted as
// under way here, and a later one waits for the commit.
func (b *believer) doubtAgain(ctx context.Context, tx pgx.Tx, said beliefs) error {
	left := make(map[string][]string)
	for about := range said.words {
		if b.underway.has(about) {
			left[about.topic] = append(left[about.topic], about.token)
		}
	}
	for topic, tokens := range left {
		_, err := tx.Exec(ctx, announce, topic, tokens, b.caller.number, b.caller.job, b.caller.doubtFor, b.caller.owner, b.caller.service)
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	sameToken = `
		hashtextextended(s.token, 0) = hashtextextended(was.token, 0) and hashtextextended(s.token, 1) = hashtextextended(was.token, 1)
		and s.token = was.token`

	ofService = ` and exists (select from bulksub.synced y where y.topic = s.topic and y.service = $2)`

	forgetTokens = `delete from bulksub.subscriptions s using unnest($1::text[]) as was (token) where` + sameToken + ofService

	forgetOurs = forgetTokens + ` and s.since = '-infinity' and s.earlier is null and not (` + others + `)`

	doubtTokens = `
		update bulksub.subscriptions s set doubted = coalesce(s.doubted, clock_timestamp()), earlier = null, caller = 0, job_id = 0
		from unnest($1::text[]) as was (token) where` + sameToken + ofService

	// others is the condition that a doubt is not ours: another process announced it after us, or its call has had
	// no answer. No result of ours ends it.
	others = `s.doubted is not null and s.caller <> $3`

	// leave brings back, now that our call has ended, the doubt that was there before it. A doubt that was over by
	// then is not brought back if the call was carried out ($4); a refusal does not end it.
	leave = `
		update bulksub.subscriptions s set doubted = s.earlier, earlier = null, caller = 0, job_id = 0
		from unnest($1::text[], $2::text[]) as was (topic, token)
		where s.topic = was.topic and s.caller = $3 and s.earlier is not null and not ($4 and s.earlier = '-infinity') and` + sameToken

	forget = `
		delete from bulksub.subscriptions s using unnest($1::text[], $2::text[]) as was (topic, token)
		where s.topic = was.topic and s.caller = $3 and (not $4 or s.since = '-infinity') and` + sameToken

	// contradict is for a result that is recorded late: another job may have changed the subscription since. If it is
	// believed without a doubt by then, and we say that it is absent, it is in doubt.
	contradict = `
		update bulksub.subscriptions s set doubted = clock_timestamp(), caller = 0, job_id = 0
		from unnest($1::text[], $2::text[]) as was (topic, token) where s.topic = was.topic and s.doubted is null and` + sameToken

	// remember stores what is held or doubted. It inserts in one order, so that two transactions that say the same do
	// not deadlock.
	remember = `
		insert into bulksub.subscriptions as s (topic, token, job_id, since, doubted, caller)
		select topic, token, $4, case when $5 then '-infinity' else clock_timestamp() end,
			clock_timestamp(), case when $5 then $3::bigint else 0 end
		from unnest($1::text[], $2::text[]) as now (topic, token)
		order by hashtextextended(token, 0), topic
		on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
		do update set since = greatest(s.since, excluded.since), earlier = case when ` + others + ` then s.earlier end,
			doubted = case when ` + others + ` then s.doubted when $5 then excluded.doubted end,
			caller = case when ` + others + ` then s.caller when $5 then excluded.caller end,
			job_id = case when ` + others + ` then s.job_id else excluded.job_id end`
)
