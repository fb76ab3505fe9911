package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/source"
)

// verifyFlags say how far to take the service's word.
type verifyFlags struct {
	rows  int
	least share
}

func (f *verifyFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&f.rows, "verify", 0, "at the end, ask the service about `N` random rows of the job that are ok, and report how many agree")
	f.least = 0.99
	flags.Var(&f.least, "verify-min", "stop, and prune nothing, if less than this share of them agrees")
}

// mostVerified bounds a sample: with 10,000 rows the share is known to a fifth of a per cent.
const mostVerified = 10_000

func (f *verifyFlags) check() error {
	if f.rows < 0 || f.rows > mostVerified {
		return usagef("--verify is %d; it can be 1 to %d, or 0 for none", f.rows, mostVerified)
	}
	return nil
}

// claims says of a row that is ok what was done to topics: what a look at it must
// confirm. The result's topic is the row's last one.
type claims func(pipeline.Result) []pipeline.Action

// claims are those of rows that do op for each of their topics.
func (f *topicFlags) claims(op pipeline.Op) claims {
	return func(r pipeline.Result) (done []pipeline.Action) {
		topics := f.topics
		if f.column != "" {
			topics = []string{r.Topic}
		}
		for _, name := range topics {
			done = append(done, pipeline.Action{Op: op, Topic: name})
		}
		return done
	}
}

// hold reports whether what the service knows of a token is what was done to it.
func hold(done []pipeline.Action, known iid.Facts) bool {
	for _, a := range done {
		if _, in := known.Topics[a.Topic]; in != (a.Op == pipeline.Subscribe) {
			return false
		}
	}
	return true
}

// verification is what the looks at a sample found.
type verification struct {
	Rows     int64 `json:"rows"` // in the sample
	Agree    int64 `json:"agree"`
	Disagree int64 `json:"disagree"`
	Unknown  int64 `json:"unknown"` // those that could not be looked up, or are gone by now
	// Low and High are where the share of all rows that agree lies, with 95 %
	// confidence.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// verify looks a random sample of the job's rows up, at the job's own pace and while the lease
// on the job's end is held. It is dropped when ctx ends.
func (j *job) verify(ctx context.Context, control *control, lease *pipeline.Lease) error {
	sample, err := j.sink.Sample(ctx, j.options.verify.rows)
	if err != nil {
		return err
	}
	found, err := j.lookUp(ctx, control, sample, lease)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	j.verified = compare(sample, found, j.options.asked.claims)
	return j.verified.check(float64(j.options.verify.least), j.again)
}

// lookUp asks the service about the tokens of a sample.
func (j *job) lookUp(ctx context.Context, control *control, sample []pipeline.Result, lease *pipeline.Lease) ([]pipeline.Result, error) {
	tokens := &source.List{Tasks: inPath(source.Always(pipeline.Action{Op: pipeline.Info}))}
	for _, r := range sample {
		tokens.Tokens = append(tokens.Tokens, cmp.Or(r.RegistrationToken, r.Token))
	}
	found, f := &sink.Memory{Lease: lease}, j.options.service
	err := pipeline.Run(ctx, pipeline.Job{Source: tokens, Sink: found, Service: j.service.looks, Budget: control.budget}, pipeline.Options{
		Concurrency: f.concurrency,
		Attempts:    f.attempts,
		MaxRejected: 1,
		Patience:    f.patience,
		Stop:        control.stop,
		Meter:       j.looks,
	})
	return found.Results(), err
}

// compare counts which rows of a sample are as they should be. The keys of what was found
// are the places in the sample, from 1.
func compare(sample, found []pipeline.Result, done claims) *verification {
	v := &verification{Rows: int64(len(sample))}
	for _, r := range found {
		place, err := strconv.Atoi(r.Key)
		var known iid.Facts
		if err != nil || r.Status != pipeline.OK || json.Unmarshal([]byte(r.Detail), &known) != nil {
			continue
		}
		if hold(done(sample[place-1]), known) {
			v.Agree++
		} else {
			v.Disagree++
		}
	}
	v.Unknown = v.Rows - v.Agree - v.Disagree
	v.Low, v.High = wilson(v.Agree, v.Agree+v.Disagree)
	return v
}

// wilson is the range in which a share lies with 95 % confidence, when hits of n were
// seen (Wilson's score interval, 1927), to four places. Of nothing it says nothing.
func wilson(hits, n int64) (low, high float64) {
	const z = 1.959964
	if n == 0 {
		return 0, 1
	}
	size, seen := float64(n), float64(hits)/float64(n)
	middle := (seen + z*z/(2*size)) / (1 + z*z/size)
	half := z * math.Sqrt(seen*(1-seen)/size+z*z/(4*size*size)) / (1 + z*z/size)
	round := func(share float64) float64 { return math.Round(share*1e4) / 1e4 }
	return round(max(0, middle-half)), round(min(1, middle+half))
}

// check reports an error if too few rows agree, or nothing could be learnt of any.
func (v *verification) check(least float64, again string) error {
	judged := v.Agree + v.Disagree
	if v.Rows == 0 || judged > 0 && float64(v.Agree) >= least*float64(judged) {
		return nil
	}
	return &verifyError{found: *v, least: least, again: again}
}

// String is the verification in words.
func (v *verification) String() string {
	if v.Rows == 0 {
		return "nothing: no row is ok that could be looked up"
	}
	text := fmt.Sprintf("%s of %s agree; of all, %.2f to %.2f %% (95 %% confidence)",
		thousands(v.Agree), thousands(v.Agree+v.Disagree), 100*v.Low, 100*v.High)
	if v.Unknown > 0 {
		text += fmt.Sprintf("; %s could not be looked up", thousands(v.Unknown))
	}
	return text
}

// verifyError is a brake: the service does not confirm what it has acknowledged.
type verifyError struct {
	found verification
	least float64
	again string
}

func (e *verifyError) Error() string {
	if e.found.Agree+e.found.Disagree == 0 {
		return fmt.Sprintf("verify: nothing could be learnt about the %s rows that were checked; run the same command again%s to check once more",
			thousands(e.found.Rows), e.again)
	}
	return fmt.Sprintf("verify: %s, and --verify-min is %g %%: the service does not confirm what it acknowledged, or somebody else changes the topic; "+
		"run the same command again%s to check once more", e.found.String(), 100*e.least, e.again)
}
