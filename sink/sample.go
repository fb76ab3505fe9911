package sink

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

// Sample picks n of the job's results that are ok, at random and each as likely as any
// other; all of them if there are no more. It reads all results.
func (c *CSV) Sample(ctx context.Context, n int) ([]pipeline.Result, error) {
	drawn := reservoir{size: n}
	err := c.visit(ctx, drawn.see)
	return drawn.kept, err
}

// Sample picks as [CSV.Sample] does.
func (m *Memory) Sample(_ context.Context, n int) ([]pipeline.Result, error) {
	drawn := reservoir{size: n}
	m.visit(drawn.see)
	return drawn.kept, nil
}

// reservoir keeps a random few of all that it sees: the last of i is kept with the
// chance size/i, and takes the place of any (Vitter's algorithm R).
type reservoir struct {
	size, seen int
	kept       []pipeline.Result
}

func (s *reservoir) see(r pipeline.Result) {
	s.seen++
	at := len(s.kept)
	if at == s.size {
		if at = rand.IntN(s.seen); at >= s.size {
			return
		}
	} else {
		s.kept = append(s.kept, r)
	}
	fate := *r.Fate
	fate.Topic, fate.RegistrationToken, fate.Detail = strings.Clone(r.Topic), strings.Clone(r.RegistrationToken), ""
	s.kept[at] = pipeline.Result{Claim: r.Claim, Key: strings.Clone(r.Key), Token: strings.Clone(r.Token), Fate: &fate}
}

// Sample picks as [CSV.Sample] does, without reading all: the segments know how many
// results are ok, so the places of the sample are drawn first and then looked up, with one short
// statement for each segment that has any (P7).
func (p *Postgres) Sample(ctx context.Context, n int) ([]pipeline.Result, error) {
	segments, err := p.finished(ctx)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, s := range segments {
		total += s.ok
	}
	places := draw(n, total)
	var sample []pipeline.Result
	before := int64(0)
	for _, s := range segments {
		var here []int64
		for len(places) > 0 && places[0] <= before+s.ok {
			here, places = append(here, places[0]-before), places[1:]
		}
		before += s.ok
		rows, err := p.pick(ctx, s.number, here)
		if err != nil {
			return nil, fmt.Errorf("pick results of segment %d: %w", s.number, err)
		}
		sample = append(sample, rows...)
	}
	return sample, nil
}

// draw picks n different numbers of 1 to total, each as likely, and sorts them
// (Floyd's algorithm).
func draw(n int, total int64) []int64 {
	drawn := make(map[int64]bool)
	for last := max(0, total-int64(n)) + 1; last <= total; last++ {
		one := rand.Int64N(last) + 1
		if drawn[one] {
			one = last
		}
		drawn[one] = true
	}
	return slices.Sorted(maps.Keys(drawn))
}

// pick reads the results at these places among those of the segment that are ok.
func (p *Postgres) pick(ctx context.Context, segment int, places []int64) (picked []pipeline.Result, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, _ := p.pool.Query(ctx, `
			select row_key, token, topic, coalesce(registration_token, '') from (
				select *, row_number() over (order by row_key) as place from bulksub.rows
				where job_id = $1 and segment = $2 and status = 'ok'
			) as ok where place = any($3)`, p.job.ID, segment, places)
		picked, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (pipeline.Result, error) {
			r := pipeline.Result{Fate: &pipeline.Fate{Status: pipeline.OK}}
			err := row.Scan(&r.Key, &r.Token, &r.Topic, &r.RegistrationToken)
			return r, err
		})
		return err
	})
	return picked, err
}

// Believed says of each result of a sample by its Op whether its token is believed to be
// subscribed to its topic or not, and leaves out those that are in doubt.
func (p *Postgres) Believed(ctx context.Context, sample []pipeline.Result) (believed []pipeline.Result, err error) {
	topics, tokens := make([]string, len(sample)), make([]string, len(sample))
	for i, r := range sample {
		topics[i], tokens[i] = r.Topic, storable(r.Token)
	}
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		believed = nil
		rows, _ := p.pool.Query(ctx, `
			select was.place, s.topic is not null
			from unnest($1::text[], $2::text[]) with ordinality as was (topic, token, place)
			left join bulksub.subscriptions s on s.topic = was.topic and`+sameToken+`
			where s.doubted is null order by was.place`, topics, tokens)
		var place int
		var subscribed bool
		_, err := pgx.ForEachRow(rows, []any{&place, &subscribed}, func() error {
			r := sample[place-1]
			as := *r.Fate
			if as.Op = pipeline.Unsubscribe; subscribed {
				as.Op = pipeline.Subscribe
			}
			r.Fate = &as
			believed = append(believed, r)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up what is believed: %w", err)
	}
	return believed, nil
}
