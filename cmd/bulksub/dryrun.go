package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"text/tabwriter"

	"github.com/bulksub/bulksub/internal/iid"
	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/pipeline"
)

// forecast is what a dry run finds. Rows with the same token share a place in a call if they
// lie near each other, so that with duplicates there are fewer batches, and it takes
// less time, by as much as nobody can tell beforehand.
type forecast struct {
	Rows       int64   `json:"rows"`
	Batches    int64   `json:"batches"`    // at most, without repetitions
	Duplicates int64   `json:"duplicates"` // rows whose token and first action stood in the input before
	Malformed  int64   `json:"malformed"`
	Seconds    float64 `json:"seconds"` // at the rate, at most; 0 without a ceiling
	// Counted is false if there were too many tokens to look for duplicates
	// among all of them: then there may be more.
	Counted bool `json:"duplicates_counted"`

	calls map[pipeline.Action]int64 // token operations of each action
}

// rehearse says what a job would do.
func rehearse(cmd *cobra.Command, o jobOptions) error {
	ctx, cancel := signalsOf(cmd.Context()).until(cmd.Context())
	defer cancel()
	in, err := openInput(ctx, o)
	if err != nil {
		return err
	}
	defer in.close()
	if o.asked.sync != nil {
		return dryRunSync(ctx, cmd.OutOrStdout(), in, o)
	}
	if err := in.checkKind(ctx, o); err != nil {
		return err
	}
	return dryRun(ctx, cmd.OutOrStdout(), in, o)
}

// dryRun reads the whole input and says what a run would do. It calls nobody and
// changes nothing.
func dryRun(ctx context.Context, w io.Writer, in *input, o jobOptions) error {
	f := forecast{calls: make(map[pipeline.Action]int64)}
	seen := newTokenSet()
	for segment, more, err := in.source.Next(ctx, pipeline.Segment{}); more || err != nil; segment, more, err = in.source.Next(ctx, segment) {
		if err != nil {
			return err
		}
		for row, err := range in.source.Rows(ctx, segment) {
			if err != nil {
				return err
			}
			f.see(row, seen)
		}
	}
	f.conclude(o, seen)
	return f.print(w, o.output.json)
}

func (f *forecast) see(row pipeline.Row, seen *tokenSet) {
	f.Rows++
	if row.Flaw != "" || pipeline.TokenFlaw(row.Token) != "" {
		f.Malformed++
		return
	}
	if !seen.add(cmp.Or(row.Subject, row.Token) + " " + row.Actions[0].String()) {
		f.Duplicates++
	}
	for _, a := range row.Actions {
		f.calls[a]++
	}
}

func (f *forecast) conclude(o jobOptions, seen *tokenSet) {
	tokens := int64(0)
	for a, n := range f.calls {
		size := int64(min(o.service.batchSize, iid.Service{}.Limit(a)))
		f.Batches += (n + size - 1) / size
		tokens += n
	}
	f.Counted = !seen.full()
	if o.service.rate > 0 {
		f.Seconds = math.Ceil(float64(tokens) / o.service.rate)
	}
}

func (f *forecast) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(f)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "rows\t%s\n", thousands(f.Rows))
	most := ""
	if f.Duplicates > 0 || !f.Counted {
		most = "at most "
	}
	fmt.Fprintf(table, "batches\t%s%s\n", most, thousands(f.Batches))
	fmt.Fprintf(table, "duplicates\t%s%s\n", map[bool]string{false: "at least "}[f.Counted], thousands(f.Duplicates))
	fmt.Fprintf(table, "malformed\t%s\n", thousands(f.Malformed))
	fmt.Fprintf(table, "seconds\t%s%s, at the rate\n", most, thousands(int64(f.Seconds)))
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\nnothing was called and nothing was changed: this was a dry run")
	return err
}

// tokenSet remembers tokens by a hash of 64 bits, up to a number that keeps it
// under 64 MiB.
type tokenSet struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

const maxRemembered = 1 << 20

func newTokenSet() *tokenSet {
	return &tokenSet{seed: maphash.MakeSeed(), hashes: make(map[uint64]struct{})}
}

func (s *tokenSet) full() bool { return len(s.hashes) >= maxRemembered }

// add reports whether the token is new, as far as is remembered.
func (s *tokenSet) add(token string) bool {
	h := maphash.String(s.seed, token)
	if _, known := s.hashes[h]; known {
		return false
	}
	if !s.full() {
		s.hashes[h] = struct{}{}
	}
	return true
}
