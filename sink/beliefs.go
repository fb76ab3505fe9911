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
func (p *Postgres) believe(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error {
	topics, gone := touched(results)
	if len(topics) == 0 && !gone {
		return nil
	}
	var some bool
	var synced []string
	var ask pgx.Batch
	ask.Queue(`select pg_advisory_xact_lock_shared($1)`, membership)
	ask.Queue(`select exists (select from bulksub.synced), array(select distinct topic from bulksub.synced where topic = any($1))`, topics).
		QueryRow(func(row pgx.Row) error { return row.Scan(&some, &synced) })
	if err := tx.SendBatch(ctx, &ask).Close(); err != nil || len(synced) == 0 && !(some && gone) {
		return err
	}
	return newBeliefs(results, synced).write(ctx, tx, p.job.ID)
}

// touched lists the topics of what was done, and says whether a token was found to
// be gone.
func touched(results []pipeline.Result) (topics []string, gone bool) {
	seen := make(map[string]bool)
	for i := range results {
		gone = gone || results[i].Status == pipeline.NotFound
		for _, a := range results[i].Done {
			if onTopic(a) && !seen[a.Topic] {
				seen[a.Topic] = true
				topics = append(topics, a.Topic)
			}
		}
	}
	return topics, gone
}

func onTopic(a pipeline.Action) bool {
	return a.Op == pipeline.Subscribe || a.Op == pipeline.Unsubscribe
}

// belief is a subscription that the service holds, or does not.
type belief struct{ topic, token string }

// beliefs is what results say of topics under sync.
type beliefs struct {
	gone map[string]bool // tokens that are subscribed to nothing any more
	held map[belief]bool
}

// newBeliefs reads the results from the last to the first: of what contradicts
// itself the last word counts. What was subscribed for a row is its registration
// token, if it was given one.
func newBeliefs(results []pipeline.Result, synced []string) beliefs {
	b := beliefs{gone: make(map[string]bool), held: make(map[belief]bool)}
	under := make(map[string]bool)
	for _, topic := range synced {
		under[topic] = true
	}
	for _, r := range slices.Backward(results) {
		token := storable(cmp.Or(r.RegistrationToken, r.Token))
		if r.Status == pipeline.NotFound {
			b.gone[token] = true
		}
		if b.gone[token] {
			continue
		}
		for _, a := range slices.Backward(r.Done) {
			about := belief{a.Topic, token}
			if _, known := b.held[about]; !known && onTopic(a) && under[a.Topic] {
				b.held[about] = a.Op == pipeline.Subscribe
			}
		}
	}
	return b
}

// write brings the table up to date. Gone tokens go first: what is held besides
// came later.
func (b beliefs) write(ctx context.Context, tx pgx.Tx, job int64) error {
	var gone []string
	for token := range b.gone {
		gone = append(gone, token)
	}
	var topics, tokens [2][]string
	for about, held := range b.held {
		to := 0
		if held {
			to = 1
		}
		topics[to], tokens[to] = append(topics[to], about.topic), append(tokens[to], about.token)
	}
	var changes pgx.Batch
	if len(gone) > 0 {
		changes.Queue(forgetTokens, gone)
	}
	if len(topics[0]) > 0 {
		changes.Queue(forget, topics[0], tokens[0])
	}
	if len(topics[1]) > 0 {
		changes.Queue(remember, topics[1], tokens[1], job)
	}
	return tx.SendBatch(ctx, &changes).Close()
}

const (
	sameToken = `
		hashtextextended(s.token, 0) = hashtextextended(was.token, 0) and hashtextextended(s.token, 1) = hashtextextended(was.token, 1)
		and s.token = was.token`

	forgetTokens = `delete from bulksub.subscriptions s using unnest($1::text[]) as was (token) where` + sameToken

	forget = `
		delete from bulksub.subscriptions s using unnest($1::text[], $2::text[]) as was (topic, token)
		where s.topic = was.topic and` + sameToken

	// Two transactions that say the same insert it in the same order.
	remember = `
		insert into bulksub.subscriptions (topic, token, job_id)
		select topic, token, $3 from unnest($1::text[], $2::text[]) as now (topic, token)
		order by hashtextextended(token, 0), topic
		on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
		do update set since = excluded.since, job_id = excluded.job_id`
)
