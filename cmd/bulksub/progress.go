package main

import (
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/bulksub/bulksub/pipeline"
)

const (
	barEvery  = 100 * time.Millisecond
	lookEvery = 250 * time.Millisecond // for a pause, which is told at once
	lineEvery = 10 * time.Second
)

// progress shows how far a run is: a bar on a terminal, a line every ten seconds
// elsewhere.
type progress struct {
	quit, gone chan struct{}
}

// startProgress begins to show the meter. total is the number of rows, as far as
// it is known; paused tells whether it is held up for now.
func startProgress(m *pipeline.Meter, total int64, quiet bool, paused func() bool, log *slog.Logger, w io.Writer) *progress {
	p := &progress{quit: make(chan struct{}), gone: make(chan struct{})}
	show := showLines(log, total, paused)
	every := lookEvery
	if isTerminal(w) {
		show, every = showBar(w, total, paused), barEvery
	}
	if quiet {
		show = func(pipeline.Progress, bool) {}
	}
	go func() {
		defer close(p.gone)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show(m.Progress(), false)
			case <-p.quit:
				show(m.Progress(), true)
				return
			}
		}
	}()
	return p
}

// stop shows the last state and returns when nothing more is written.
func (p *progress) stop() {
	close(p.quit)
	<-p.gone
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// display shows a reading; last is the last one.
type display func(p pipeline.Progress, last bool)

// What a run is doing.
const (
	working = "progress"
	held    = "paused"
	waiting = "waiting for the service"
)

func state(p pipeline.Progress, paused bool) string {
	switch {
	case paused:
		return held
	case p.Trouble != nil:
		return waiting
	}
	return working
}

func showLines(log *slog.Logger, total int64, paused func() bool) display {
	began := time.Now()
	said, at, quiet := working, began, true
	return func(p pipeline.Progress, last bool) {
		before := said
		said = state(p, paused())
		if last && quiet {
			return // it was over before there was anything to say
		}
		if !last && said == before && time.Since(at) < lineEvery {
			return
		}
		at, quiet = time.Now(), false
		done := p.Recorded.Rows()
		took := time.Since(began).Seconds()
		facts := []any{"rows", p.Before + done, "of", max(total, p.Before+done),
			"ok", p.Recorded[pipeline.OK], "not_found", p.Recorded[pipeline.NotFound], "failed", p.Recorded[pipeline.Failed],
			"requests", p.Requests, "retries", p.Retries, "rows_per_second", int64(float64(done) / max(took, 0.001))}
		if said == waiting {
			log.Warn(said, append(facts, "cause", p.Trouble)...)
		} else {
			log.Info(said, facts...)
		}
	}
}

func showBar(w io.Writer, total int64, paused func() bool) display {
	var trouble atomic.Bool
	shown := decor.Any(func(decor.Statistics) string {
		switch {
		case paused():
			return "  " + held
		case trouble.Load():
			return "  " + waiting
		}
		return ""
	})
	bars := mpb.New(mpb.WithOutput(w), mpb.WithWidth(60), mpb.WithRefreshRate(barEvery))
	bar := bars.AddBar(max(total, 1),
		mpb.PrependDecorators(decor.CountersNoUnit("%d / %d rows", decor.WCSyncWidth)),
		mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.AverageSpeed(0, "  %.0f/s"), decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 8}), shown))
	return func(p pipeline.Progress, last bool) {
		trouble.Store(p.Trouble != nil)
		done := p.Before + p.Recorded.Rows()
		if done > total {
			bar.SetTotal(done, false)
		}
		bar.SetCurrent(done)
		if last {
			bar.SetTotal(max(done, 1), true)
			bar.Abort(false)
			bars.Wait()
		}
	}
}
