package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// byField gives each row the topic in its first field; a row without one is flawed.
func byField(_ string, fields []string) Task {
	if fields[0] == "" {
		return Task{Flaw: "no topic"}
	}
	return Task{Actions: []pipeline.Action{{Op: pipeline.Subscribe, Topic: fields[0]}}}
}

// topicOf is the topic of the nth row: one of 700, and none for some.
func topicOf(n int) string {
	if n%1000 == 7 {
		return ""
	}
	return fmt.Sprintf("Topic-%d", n*7919%700)
}

// wantGroups checks that the rows 1 to n come once each, with their topics, in the order of the
// topics.
func wantGroups(t *testing.T, src pipeline.Source, n int) {
	t.Helper()
	type place struct {
		topic string
		key   int
	}
	var want, got []place
	for i := range n {
		want = append(want, place{topicOf(i + 1), i + 1})
	}
	slices.SortStableFunc(want, func(a, b place) int { return cmp.Compare(a.topic, b.topic) })
	segments := cut(t, src)
	if len(segments) != (n+segmentRows-1)/segmentRows {
		t.Errorf("%d segments", len(segments))
	}
	read := map[pipeline.Segment][]place{}
	for _, s := range slices.Backward(segments) {
		for row, err := range src.Rows(t.Context(), s) {
			if err != nil {
				t.Fatal(err)
			}
			var p place
			if fmt.Sscan(row.Key, &p.key); row.Flaw == "" {
				p.topic = row.Actions[0].Topic
			}
			if row.Token != fmt.Sprintf("token-%d", p.key) {
				t.Fatalf("%+v", row)
			}
			read[s] = append(read[s], p)
		}
	}
	for _, s := range segments {
		got = append(got, read[s]...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d rows, or not in their order", len(got))
	}
	testCancel(t, src, segments)
}

func TestGroupedCSV(t *testing.T) {
	const n = 120_000
	var b strings.Builder
	b.WriteString("topic,token\n")
	for i := range n {
		fmt.Fprintf(&b, "%s,token-%d\n", topicOf(i+1), i+1)
	}
	path := write(t, "tokens.csv", b.String())
	c, err := OpenCSV(t.Context(), path, Reading{Token: "token", Columns: []string{"topic"}, Grouped: true, Tasks: byField})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantGroups(t, c, n)
}

func TestGroupedPostgres(t *testing.T) {
	const n = 120_000
	pool := pgtest.New(t)
	topics := make([]*string, n)
	for i := range topics {
		if topic := topicOf(i + 1); topic != "" || i%2000 == 6 {
			topics[i] = &topic
		}
	}
	_, err := pool.Exec(t.Context(), "create table users as select n::bigint as id, 'token-' || n as token, topic from unnest($1::text[]) with ordinality as t (topic, n)", topics)
	if err != nil {
		t.Fatal(err)
	}
	r, err := postgres.Resolve(t.Context(), pool, postgres.Wanted{Table: "users", TokenColumn: "token", KeyColumn: "id", Further: []string{"topic"}})
	if err != nil {
		t.Fatal(err)
	}
	wantGroups(t, NewPostgres(pool, r, byField, true, patience), n)
}
