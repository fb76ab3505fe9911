package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

// TestLinesSayWhatIsWaitedFor: a change of what a run is doing is told at once, with its cause.
func TestLinesSayWhatIsWaitedFor(t *testing.T) {
	var text bytes.Buffer
	paused := false
	show := showLines(slog.New(slog.NewTextHandler(&text, nil)), 100, func() bool { return paused })
	down := pipeline.Progress{Trouble: errors.New("HTTP 503")}
	for _, step := range []struct {
		p      pipeline.Progress
		paused bool
		want   string // in the line; "": there is none
	}{
		{p: pipeline.Progress{}},
		{p: down, want: `level=WARN msg="waiting for the service" rows=0 of=100 `},
		{p: down},
		{p: down, paused: true, want: "level=INFO msg=paused"},
		{p: down, want: `cause="HTTP 503"`},
		{p: pipeline.Progress{}, want: "level=INFO msg=progress"},
	} {
		text.Reset()
		paused = step.paused
		show(step.p, false)
		if got := text.String(); !strings.Contains(got, step.want) || (got == "") != (step.want == "") {
			t.Errorf("%q, want %q", got, step.want)
		}
	}
}
