package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// Tokens and calls that fail for the moment are asked about again in full batches: the calls are
// hardly more than those that carry nothing but first questions and necessary second ones.
func TestFewCalls(t *testing.T) {
	const rows, batch = 200_000, 1000
	for _, test := range []struct {
		percent int
		most    float64 // of the ideal number
	}{{1, 1.03}, {10, 1.10}} {
		for _, of := range []string{"tokens", "calls"} {
			t.Run(fmt.Sprintf("%d %% of the %s", test.percent, of), func(t *testing.T) {
				t.Parallel()
				var mix iidtest.Mix
				if of == "tokens" {
					mix.Transient = float64(test.percent) / 100
				}
				p := newProgram(t, mix.Fate)
				if of == "calls" {
					p.Faults(fmt.Sprintf("503=%d%%", test.percent))
				}
				csv := filepath.Join(t.TempDir(), "tokens.csv")
				text := []byte("token\n")
				again := 0
				for n := range rows {
					token := fmt.Sprint("token-", n)
					text = append(append(text, token...), '\n')
					again += mix.Fate(token).Tries
				}
				if err := os.WriteFile(csv, text, 0o600); err != nil {
					t.Fatal(err)
				}
				code, s := p.run("subscribe", "--topic", "news", "--csv", csv, "--rate", "0")
				for _, c := range p.Service.Calls() {
					if c.Status == 503 {
						again += c.Tokens
					}
				}
				ideal := (rows + again + batch - 1) / batch
				if code != 0 || s.OK != rows || again < rows*test.percent/400 {
					t.Fatalf("ended with %d, %d asked again: %+v", code, again, s)
				}
				t.Logf("%d calls, ideal %d: %.3f", s.Requests, ideal, float64(s.Requests)/float64(ideal))
				if float64(s.Requests) > test.most*float64(ideal) {
					t.Errorf("%d calls where %d would do, more than %.2f times as many", s.Requests, ideal, test.most)
				}
			})
		}
	}
}
