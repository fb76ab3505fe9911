package sink

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// BenchmarkRecord writes 10,000 results at a time, for a topic that is under no sync
// and for one that is.
func BenchmarkRecord(b *testing.B) {
	for _, synced := range []bool{false, true} {
		b.Run(fmt.Sprintf("synced=%t", synced), func(b *testing.B) { benchRecord(b, synced) })
	}
}

func benchRecord(b *testing.B, synced bool) {
	db := pgtest.New(b)
	if synced {
		if _, err := db.Exec(b.Context(), `insert into bulksub.synced (topic, kind) values ('news', 'bench')`); err != nil {
			b.Fatal(err)
		}
	}
	p, err := OpenPostgres(b.Context(), db, "job", asked, time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	c, err := p.Claim(b.Context(), func(context.Context, pipeline.Segment) (pipeline.Segment, bool, error) { return segment(1), true, nil })
	if err != nil {
		b.Fatal(err)
	}
	done := []pipeline.Action{{Op: pipeline.Subscribe, Topic: "news"}}
	fate := &pipeline.Fate{Topic: "news", Status: pipeline.OK, Attempts: 1, Done: done}
	results := make([]pipeline.Result, 10_000)
	for n := 0; b.Loop(); n += len(results) {
		for i := range results {
			key := fmt.Sprint(n + i)
			results[i] = pipeline.Result{Claim: c, Key: key, Token: strings.Repeat(key+":", 20), Fate: fate}
		}
		if err := p.Record(b.Context(), results); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(results)*b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkDifference plans a sync of which 10,000 subscriptions have changed: half
// of them are new, half have gone. Tokens have 163 characters.
func BenchmarkDifference(b *testing.B) {
	for _, topics := range []int{1, 1000} {
		for _, beliefs := range []int{1_000_000, 10_000_000} {
			b.Run(fmt.Sprintf("topics=%d/beliefs=%d", topics, beliefs), func(b *testing.B) { benchDifference(b, topics, beliefs) })
		}
	}
}

func benchDifference(b *testing.B, topics, beliefs int) {
	const half = 5000
	db := pgtest.New(b)
	fillBeliefs(b, db, topics, beliefs, half)
	s := Sync{Topic: "t0", Batch: 1000, MaxRemove: 0.2}
	if topics > 1 {
		s.Topic = ""
	}
	var err error
	s.Relation, err = postgres.Resolve(b.Context(), db, postgres.Wanted{Table: "users", TokenColumn: "token", Keyless: true, Further: []string{"topic"}})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		p, err := OpenPostgres(b.Context(), db, fmt.Sprint(i), asked, time.Minute)
		if err != nil {
			b.Fatal(err)
		}
		d, err := p.Stage(b.Context(), s)
		if err != nil || d.Add != half || d.Remove != half || d.Believed != int64(beliefs) {
			b.Fatal(d, err)
		}
		if _, err := db.Exec(b.Context(), `delete from bulksub.plans`); err != nil {
			b.Fatal(err)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// fillBeliefs makes beliefs, and a table that wants all but the first few of them
// and as many new ones.
func fillBeliefs(b *testing.B, db *pgxpool.Pool, topics, beliefs, change int) {
	b.Helper()
	const rows = `
		select 't' || n %% %d, substr(md5(n::text), 1, 22) || ':APA91b' || repeat(md5((-n)::text), 4) || 'abcdef' %s from generate_series(%d, %d) n`
	for _, sql := range []string{
		`insert into bulksub.subscriptions (topic, token, job_id) ` + fmt.Sprintf(rows, topics, ", 1", 1, beliefs),
		`create table users (topic text, token text)`,
		`insert into users ` + fmt.Sprintf(rows, topics, "", change+1, change+beliefs),
		`vacuum analyze bulksub.subscriptions`,
		`vacuum analyze users`,
	} {
		if _, err := db.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
}
