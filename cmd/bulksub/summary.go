package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/sink/prune"
)

// summary is what a run ends with. Rows, the statuses and Pruned are the job's,
// earlier runs included; Requests, Retries and Seconds are this run's.
type summary struct {
	Job           string  `json:"job"`
	State         string  `json:"state"`
	Rows          int64   `json:"rows"`
	OK            int64   `json:"ok"`
	NotFound      int64   `json:"not_found"`
	Invalid       int64   `json:"invalid"`
	TooManyTopics int64   `json:"too_many_topics"`
	Denied        int64   `json:"denied"`
	Failed        int64   `json:"failed"`
	Malformed     int64   `json:"malformed"`
	Pruned        int64   `json:"pruned"`
	Requests      int64   `json:"requests"`
	Retries       int64   `json:"retries"`
	Seconds       float64 `json:"seconds"`
	census
	Verified *verification `json:"verified,omitempty"`

	Difference *sink.Difference `json:"difference,omitempty"` // of a sync

	results string            // where they lie
	codes   map[string]int64  // of the rows that failed in this run
	again   string            // what to add to the command so that it goes on with this job
	each    []pipeline.Result // where they are few and lie nowhere
}

// The states of a job at the end of a run.
const (
	stateDone       = "done"       // every row has a final result
	stateIncomplete = "incomplete" // done, but some rows failed
	stateStopped    = "stopped"    // by a signal
	stateBraked     = "braked"     // by a brake
	stateCancelled  = "cancelled"  // by bulksub jobs cancel
	stateUnfinished = "unfinished" // by an error
)

// summarize tells of the job after a run, or its last work, that ended with err.
func (j *job) summarize(ctx context.Context, err error) (*summary, error) {
	counts, failure := j.sink.Counts(ctx)
	if failure != nil {
		return nil, failure
	}
	s := newSummary(j.sink.name(), counts)
	s.State = stateAfter(err, s.Failed)
	s.Verified = j.verified
	if j.sync != nil {
		s.Difference = j.sync.difference
	}
	if s.Pruned, failure = j.sink.pruned(ctx); failure != nil {
		return nil, failure
	}
	if j.options.asked.census && err == nil {
		s.census, failure = takeCensus(ctx, j.sink)
	}
	return s, failure
}

// addRun adds what this run has done.
func (j *job) addRun(s *summary, took time.Duration) {
	p, looks := j.meter.Progress(), j.looks.Progress()
	s.Requests, s.Retries = p.Requests+looks.Requests, p.Retries+looks.Retries
	s.Seconds = float64(took.Milliseconds()) / 1000
	s.results, s.again, s.codes = j.results, j.again, p.Codes
	if j.few != nil {
		s.each = j.few.Results()
	}
}

func newSummary(job string, counts pipeline.Counts) *summary {
	return &summary{
		Job:           job,
		Rows:          counts.Rows(),
		OK:            counts[pipeline.OK],
		NotFound:      counts[pipeline.NotFound],
		Invalid:       counts[pipeline.Invalid],
		TooManyTopics: counts[pipeline.TooManyTopics],
		Denied:        counts[pipeline.Denied],
		Failed:        counts[pipeline.Failed],
		Malformed:     counts[pipeline.Malformed],
	}
}

func stateAfter(err error, failed int64) string {
	switch {
	case err == nil && failed == 0:
		return stateDone
	case err == nil:
		return stateIncomplete
	case errors.Is(err, pipeline.ErrStopped):
		return stateStopped
	case is[*pipeline.ErrorBrakeError](err), is[*prune.BrakeError](err), is[*sink.SyncBrakeError](err), is[*verifyError](err):
		return stateBraked
	case is[*sink.ClosedError](err):
		return stateCancelled
	default:
		return stateUnfinished
	}
}

func (s *summary) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(table, "%s\t%s\n", name, value) }
	if s.Job != "" {
		line("job", s.Job)
	}
	line("state", s.State)
	if s.Difference != nil {
		differenceLines(*s.Difference, line)
	}
	line("rows", thousands(s.Rows))
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"ok", s.OK}, {"not_found", s.NotFound}, {"invalid", s.Invalid}, {"too_many_topics", s.TooManyTopics},
		{"denied", s.Denied}, {"failed", s.Failed}, {"malformed", s.Malformed},
	} {
		if c.n > 0 || c.name == "ok" {
			line("  "+c.name, thousands(c.n))
		}
		if c.name == "failed" {
			for _, code := range slices.Sorted(maps.Keys(s.codes)) {
				line("    "+code, thousands(s.codes[code]))
			}
		}
	}
	if s.Pruned > 0 {
		line("pruned", thousands(s.Pruned))
	}
	s.census.print(table)
	if s.Verified != nil {
		line("verified", s.Verified.String())
	}
	line("requests", thousands(s.Requests))
	line("retries", thousands(s.Retries))
	line("seconds", strconv.FormatFloat(s.Seconds, 'f', 1, 64))
	if err := table.Flush(); err != nil {
		return err
	}
	return s.printNext(w)
}

// printNext tells where the results are, and what to do now.
func (s *summary) printNext(w io.Writer) error {
	fmt.Fprintln(w)
	for _, r := range s.each {
		words := []string{r.Token + " ", string(r.Status), r.Code, r.RegistrationToken, r.Detail}
		fmt.Fprintln(w, strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " "))
	}
	if s.results != "" {
		fmt.Fprintf(w, "results: %s\n", s.results)
	}
	switch s.State {
	case stateIncomplete:
		fmt.Fprintf(w, "%s rows failed: run the same command again%s to retry just those\n", thousands(s.Failed), s.again)
	case stateStopped:
		fmt.Fprintln(w, "stopped: run the same command again to continue")
	}
	return nil
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
