package sink

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

// sampled makes segments of different sizes: 10, 20 and 30 rows, of which every fifth
// is not ok.
func sampled(t *testing.T, s pipeline.Sink) {
	t.Helper()
	fill(t, s, 3, func(segment int) (list []pipeline.Result) {
		for i := range 10 * segment {
			status := pipeline.OK
			if i%5 == 4 {
				status = pipeline.NotFound
			}
			key := strconv.Itoa(100*segment + i)
			list = append(list, pipeline.Result{Key: key, Token: "t" + key, Fate: &pipeline.Fate{
				Topic: "news", Status: status, RegistrationToken: "r" + key, Detail: "{}"}})
		}
		return list
	})
}

func TestSample(t *testing.T) {
	for name, s := range toldSinks(t) {
		t.Run(name, func(t *testing.T) {
			if none, err := s.Sample(t.Context(), 10); err != nil || len(none) != 0 {
				t.Errorf("of nothing: %v, %v", none, err)
			}
			sampled(t, s)
			for n, want := range map[int]int{1: 1, 7: 7, 48: 48, 1000: 48} {
				list, err := s.Sample(t.Context(), n)
				must(t, err)
				keys := make(map[string]bool)
				for _, r := range list {
					keys[r.Key] = true
					if row, _ := strconv.Atoi(r.Key); row%5 == 4 || r.Token != "t"+r.Key || r.RegistrationToken != "r"+r.Key || r.Topic != "news" {
						t.Errorf("picked %+v", r)
					}
				}
				if len(list) != want || len(keys) != want {
					t.Errorf("%d of %d results, %d different, want %d", len(list), n, len(keys), want)
				}
			}
		})
	}
}

// TestSampleIsFair: a row is as likely as any other, wherever it stands. By chance
// this fails once in many thousand years.
func TestSampleIsFair(t *testing.T) {
	for name, s := range toldSinks(t) {
		t.Run(name, func(t *testing.T) {
			sampled(t, s)
			const rounds, n, rows = 400, 12, 48
			picked := make(map[string]int)
			for range rounds {
				list, err := s.Sample(t.Context(), n)
				must(t, err)
				for _, r := range list {
					picked[r.Key]++
				}
			}
			// 100 on average, with a standard deviation of 8.7
			for _, r := range keysOfSample() {
				if got := picked[r]; got < 40 || got > 160 {
					t.Errorf("row %s was picked %d times of %d", r, got, rounds*n/rows)
				}
			}
		})
	}
}

func keysOfSample() (keys []string) {
	for segment := 1; segment <= 3; segment++ {
		for i := range 10 * segment {
			if i%5 != 4 {
				keys = append(keys, fmt.Sprint(100*segment+i))
			}
		}
	}
	return keys
}
