package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/sourcegraph/conc/pool"
)

// ErrStopped is returned by [Run] when Options.Stop ended it: the calls in
// flight were finished and recorded, the rest was left for the next run.
var ErrStopped = errors.New("stopped before the end; run it again to continue")

// Job is what a run joins together.
type Job struct {
	Source  Source
	Sink    Sink
	Service Service
	Budget  Budget // nil: a [Limiter] of Options.Rate
}

// Options tunes a run. The zero value of each field means its default.
type Options struct {
	Rate        float64         // token operations per second, without a Job.Budget; 0: no ceiling
	Concurrency int             // calls at a time; 16
	BatchSize   int             // tokens in a call; what the service allows, and never more
	Attempts    int             // replies that may leave a row undecided before it is Failed; 5
	MaxRejected float64         // share of tokens invalid or denied beyond which the error brake stops the job; 0.5
	Window      int             // rows in hand at a time; 2,000 × concurrency, at least 16,000
	Patience    time.Duration   // how long an outage of the service, or of all quota, is sat out; 15 minutes
	Stop        <-chan struct{} // when closed, the run drains and returns ErrStopped
	Meter       *Meter          // counts what is done; one of its own
}

const (
	largestBatch       = 1000
	defaultConcurrency = 16
	defaultAttempts    = 5
	defaultMaxRejected = 0.5
	defaultPatience    = 15 * time.Minute
)

func (o Options) withDefaults() Options {
	o.Concurrency = positive(o.Concurrency, defaultConcurrency)
	o.BatchSize = positive(o.BatchSize, largestBatch)
	o.Attempts = positive(o.Attempts, defaultAttempts)
	o.Window = positive(o.Window, max(16, 2*o.Concurrency)*largestBatch)
	o.Patience = positive(o.Patience, defaultPatience)
	if o.MaxRejected <= 0 {
		o.MaxRejected = defaultMaxRejected
	}
	if o.Meter == nil {
		o.Meter = NewMeter()
	}
	return o
}

func positive[N int | time.Duration](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

// Run carries every row that has no result yet from the source to the sink. It
// blocks until that is done, until opts.Stop asks it to drain, or until ctx ends,
// which abandons the calls in flight.
//
// It returns nil when every row it took has a result; [ErrStopped];
// [*UnavailableError] when the service did not answer; [*ErrorBrakeError] from the
// error brake; [ErrHeldElsewhere] when another process took a segment over after
// all else was read; the cause of a [Fatal] call, or of ctx; or the error of the
// source, the sink or the budget. Whatever it returns, what was recorded stays, no
// goroutine is left behind, and running the same job again goes on. A panic in the
// source, the sink or the service surfaces here.
func Run(ctx context.Context, job Job, opts Options) error {
	begin, halt := context.WithCancel(ctx)
	defer halt()
	before, err := job.Sink.Counts(ctx)
	if err != nil {
		return err
	}
	r := newRun(job, opts.withDefaults(), halt)
	tasks := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	tasks.Go(func(context.Context) error { return r.read(begin) })
	tasks.Go(r.record)
	for range r.opts.Concurrency {
		tasks.Go(func(ctx context.Context) error { return r.work(ctx, begin) })
	}
	tasks.Go(newLoop(r, before).carry)
	return tasks.Wait()
}

// run is what the goroutines of one Run share. They talk through the channels.
type run struct {
	job  Job
	opts Options
	// chunkRows is how many rows the reader brings at a time.
	chunkRows int
	chunks    chan chunk
	batches   chan *batch
	replies   chan reply
	records   chan record
	acks      chan ack
	items     itemPool
	door      chan struct{}      // held by the batch of more than one token that is being announced
	halt      context.CancelFunc // ends reading and waiting; calls in flight go on
}

func newRun(job Job, opts Options, halt context.CancelFunc) *run {
	if job.Budget == nil {
		job.Budget = NewLimiter(opts.Rate)
	}
	chunkRows := max(1, min(mostChunkRows, opts.Window/8))
	return &run{
		job:       job,
		opts:      opts,
		chunkRows: chunkRows,
		chunks:    make(chan chunk),
		batches:   make(chan *batch),
		replies:   make(chan reply, opts.Concurrency),
		records:   make(chan record, 1),
		acks:      make(chan ack, 1),
		items:     newItemPool(opts.Window, chunkRows),
		door:      make(chan struct{}, 1),
		halt:      halt,
	}
}
