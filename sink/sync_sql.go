package sink

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
)

// compare runs a statement that ends in the figures of the difference.
func (s Sync) compare(ctx context.Context, tx pgx.Tx, statement string) (d Difference, err error) {
	err = tx.QueryRow(ctx, statement).Scan(&d)
	if strings.HasPrefix(postgres.Code(err), dataException) {
		err = s.Relation.Explain(err)
	}
	return d, err
}

// dataException is the class of errors about values: here, those that the user's own query yields.
const dataException = "22"

// difference is the statement that computes the figures alone.
func (s Sync) difference(kind string) string { return s.with(kind) + s.figures() }

// staging is the statement that computes the figures and writes the plan. It numbers the rows of one
// operation and topic one after the other, so that batches are full, and what is added comes before what is
// removed.
func (s Sync) staging(kind, service string, job int64) string {
	return s.with(kind) + fmt.Sprintf(`, registered as (
			insert into bulksub.synced (topic, kind, service) select topic, %s, %s from covered on conflict do nothing
		), staged as (
			insert into bulksub.planned (job_id, n, op, topic, token)
			select %d, row_number() over (order by op, topic), op, topic, token
			from changes, generate_series(1, case when usable then 1 else copies end)
		)`, postgres.Literal(kind), postgres.Literal(service), job) + s.figures()
}

// with defines the changes: one for each token and topic to send, with the number of wanted rows that ask for
// it. Only tokens that differ from what is believed are checked: one that is believed has been usable.
func (s Sync) with(kind string) string {
	topic, covered := postgres.Literal(s.Topic), "select "+postgres.Literal(s.Topic)+"::text as topic"
	if s.Topic == "" {
		column := s.Relation.Further[0].SQL()
		topic = fmt.Sprintf(`case when starts_with(%s::text, '/topics/') then substr(%[1]s::text, 9) else %[1]s::text end`, column)
		covered = fmt.Sprintf(`
			select topic from (select distinct topic from wanted) as now where topic ~ %s
			union select topic from bulksub.synced s
			where kind = %s and exists (select from bulksub.subscriptions b where b.topic = s.topic)`, postgres.Literal(usableTopic), postgres.Literal(kind))
	}
	return fmt.Sprintf(`
		with wanted as not materialized (
			%s
		), covered as materialized (%s
		), held as not materialized (
			select topic, token, since, doubted is not null and job_id <> all(%s) as doubted from bulksub.subscriptions
			where topic %s and not (since = '-infinity' and job_id = any(%[3]s))
		), changes as materialized (
			select op, topic, token, known, doubted, usable, count(*) as copies from (
				select case when w.here then 'subscribe' else 'unsubscribe' end as op, h.token is not null as known,
					h.doubted and h.since = '-infinity' as doubted,
					coalesce(w.topic, h.topic) as topic, coalesce(w.token, h.token) as token,
					h.token is not null or coalesce(w.topic ~ %[5]s and w.token !~ %s and octet_length(w.token) <= 4096, false) as usable
				from wanted w full join held h on h.token = w.token and h.topic = w.topic
				where w.here is null or h.token is null or %s
			) as found group by op, topic, token, known, doubted, usable
		)`,
		s.Relation.Select(fmt.Sprintf(`true as here, (%s) collate "C" as topic, %s::text collate "C" as token`, topic, s.Relation.Token.SQL()), ""),
		covered, s.atWork(), s.among(), postgres.Literal(usableTopic), postgres.Literal(flawedToken), s.again())
}

// Patterns: the name of a topic that the service takes, and a token that is not worth a call. What else is
// wrong is found when the row is read.
const (
	usableTopic = `^(private/)?[A-Za-z0-9_.~%-]+$`
	flawedToken = `^$|[[:space:][:cntrl:]]`
)

// among is a condition on the topic of a belief.
func (s Sync) among() string {
	if s.Topic != "" {
		return "= " + postgres.Literal(s.Topic)
	}
	return "in (select topic from covered)"
}

// atWork is the array of the jobs at work, whose doubts a sync takes for what was before them, see [belief].
func (s Sync) atWork() string {
	return "'{" + strings.ReplaceAll(strings.Trim(fmt.Sprint(s.busy), "[]"), " ", ",") + "}'::bigint[]"
}

// again is the condition under which a belief h is asserted.
func (s Sync) again() string {
	switch {
	case s.AssertAll:
		return "true" // what is in doubt too
	case s.OlderThan > 0:
		return fmt.Sprintf("(h.doubted or h.since < statement_timestamp() - interval '%d seconds')", int64(s.OlderThan.Seconds()))
	}
	return "h.doubted"
}

// figures counts the changes, as JSON.
func (s Sync) figures() string {
	return fmt.Sprintf(`
		select jsonb_build_object('wanted', believed - removed + added, 'believed', believed, 'add', added, 'assert', asserted,
			'remove', removed, 'doubted', doubted, 'duplicates', duplicates, 'malformed', malformed, 'batches', batches)
		from (select count(*) as believed from held) as h, (
			select coalesce(sum(added), 0) as added, coalesce(sum(asserted), 0) as asserted, coalesce(sum(removed), 0) as removed,
				coalesce(sum(doubted), 0) as doubted,
				coalesce(sum(duplicates), 0) as duplicates, coalesce(sum(malformed), 0) as malformed,
				coalesce(sum(ceil((added + asserted + removed)::float8 / %d)), 0)::bigint as batches
			from (
				select count(*) filter (where usable and op = 'subscribe' and not known) as added,
					count(*) filter (where usable and op = 'subscribe' and known) as asserted,
					count(*) filter (where op = 'unsubscribe') as removed, count(*) filter (where op = 'unsubscribe' and doubted) as doubted,
					coalesce(sum(copies - 1) filter (where usable), 0) as duplicates,
					coalesce(sum(copies) filter (where not usable), 0) as malformed
				from changes group by op, topic
			) as each
		) as c`, max(1, s.Batch))
}
