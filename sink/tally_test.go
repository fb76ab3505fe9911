package sink

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/pipeline"
)

// told is a sink that can say what is in its results.
type told interface {
	pipeline.Sink
	Tally(context.Context, []string, Tally) error
	Sample(context.Context, int) ([]pipeline.Result, error)
}

// toldSinks are a sink of each kind, whose job nobody has begun.
func toldSinks(t *testing.T) map[string]told {
	return map[string]told{
		"memory":   new(Memory),
		"csv":      newCSV(t, filepath.Join(t.TempDir(), "out.csv")),
		"postgres": newPostgres(t, pgtest.New(t), "job"),
	}
}

// fill records rows of a number of segments.
func fill(t *testing.T, s pipeline.Sink, segments int, rows func(segment int) []pipeline.Result) {
	t.Helper()
	for number := 1; number <= segments; number++ {
		c, err := s.Claim(t.Context(), plan(t, segments))
		must(t, err)
		results := rows(number)
		for i := range results {
			results[i].Claim = c
		}
		must(t, s.Record(t.Context(), results))
		must(t, s.Finish(t.Context(), c))
	}
}

// TestTally: every sink counts the same, over all segments, and only what is ok.
func TestTally(t *testing.T) {
	for name, s := range toldSinks(t) {
		t.Run(name, func(t *testing.T) {
			fill(t, s, 3, func(segment int) (list []pipeline.Result) {
				for i, detail := range []string{
					`{"platform":"ANDROID","topics":{"news":"2026-01-02","sport":"2026-01-02"}}`,
					`{"platform":"ANDROID","topics":{}}`,
					`{"platform":"IOS","topics":{"news":"2026-02-02","a b\"c\u00e9":""},"version":{"deep":{}}}`,
					`{"platform":null,"topics":["news"]}`,
					`{"platform":7,"topics":null}`,
					`{}`,
					``,
					`["platform"]`,
				} {
					r := pipeline.Result{Key: fmt.Sprint(10*segment + i), Token: "t", Fate: &pipeline.Fate{Status: pipeline.OK, Detail: detail}}
					list = append(list, r)
				}
				return append(list, pipeline.Result{Key: fmt.Sprint(10*segment + 9), Token: "t", Fate: &pipeline.Fate{
					Status: pipeline.NotFound, Detail: `{"platform":"GONE"}`}})
			})
			got := make(map[string]int64)
			must(t, s.Tally(t.Context(), []string{"platform", "topics"}, func(key, word string, rows int64) { got[key+" "+word] += rows }))
			want := map[string]int64{"platform ANDROID": 6, "platform IOS": 3, "topics news": 6, "topics sport": 3, `topics a b"cé`: 3}
			if !maps.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
}
