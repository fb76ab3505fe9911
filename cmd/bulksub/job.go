package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

// jobOptions is everything that a job's command line says.
type jobOptions struct {
	asked   asking
	input   inputFlags
	ledger  ledgerFlags
	service serviceFlags
	prune   pruneFlags
	verify  verifyFlags // of commands that have claims
	output  outputFlags
	metrics metricsFlags
	dryRun  bool
	line    line
}

func (o *jobOptions) add(flags *pflag.FlagSet) {
	o.input.add(flags)
	o.ledger.add(flags)
	o.prune.add(flags)
	o.addRun(flags)
}

// addRun adds the flags that belong to a run and not to its job: what they say is
// not kept with it.
func (o *jobOptions) addRun(flags *pflag.FlagSet) {
	o.service.add(flags)
	o.output.add(flags)
	o.metrics.add(flags)
	flags.BoolVar(&o.dryRun, "dry-run", false, "count rows, duplicates in the whole input, flaws, and the most batches that there can be; call nothing, change nothing")
}

// runner does something with the job that a command line asks for.
type runner func(*cobra.Command, jobOptions) error

// jobCommands are the commands that ask for jobs.
func jobCommands(do runner) []*cobra.Command {
	return []*cobra.Command{
		topicCommand(subscribing, do), topicCommand(unsubscribing, do), migrateCommand(do), importCommand(do),
		syncCommand(do), infoCommand(do), webCommand(do),
	}
}

// runJob runs a job from its flags to its summary.
func runJob(cmd *cobra.Command, o jobOptions) error {
	log, err := newLog(cmd.ErrOrStderr(), o.output.logFormat)
	if err != nil {
		return err
	}
	if err := o.ready(cmd); err != nil {
		return err
	}
	if o.line, err = lineOf(cmd, o.asked.tokens); err != nil {
		return err
	}
	if o.dryRun {
		return rehearse(cmd, o)
	}
	shown, err := startTelemetry(o.metrics, o.asked.command, log)
	if err != nil {
		return err
	}
	cmd.SetContext(tellOutages(cmd.Context(), log))
	s := signalsOf(cmd.Context())
	setup, cancel := s.until(cmd.Context())
	defer cancel()
	j, err := openJob(setup, o)
	if err != nil {
		shown.stop(err)
		return err
	}
	defer j.close(log)
	j.tellLosses(log)
	j.tellWaits(log)
	shown.add(j.collectors()...)
	began := time.Now()
	err = s.verdict(j.run(cmd.Context(), s, log, cmd.ErrOrStderr()))
	err = j.conclude(cmd, err, time.Since(began))
	shown.stop(err)
	return err
}

// job is an open job.
type job struct {
	in      *input
	options jobOptions
	sink    ledger
	// database, sync and few are the sink itself where it is such, else nil.
	database *sink.Postgres
	sync     *inSync
	few      *sink.Memory
	service  *service
	limiter  *pipeline.Limiter // of this process
	meter    *pipeline.Meter
	results  string // where the results lie, for people
	again    string // what to add to the command so that it goes on with this job

	looks    *pipeline.Meter // counts what is looked up to verify
	verified *verification   // by this process; nil: nothing was
	outcome  *outcome        // nil: this run has not seen the end
}

// openJob opens the input, the way to the service, and the sink.
func openJob(ctx context.Context, o jobOptions) (*job, error) {
	in, err := openInput(ctx, o)
	if err != nil {
		return nil, err
	}
	j := &job{in: in, options: o, limiter: pipeline.NewLimiter(o.service.rate), meter: pipeline.NewMeter(), looks: pipeline.NewMeter()}
	if err := j.open(ctx); err != nil {
		in.close()
		return nil, err
	}
	return j, nil
}

func (j *job) open(ctx context.Context) (err error) {
	if err := j.in.checkKind(ctx, j.options); err != nil {
		return err
	}
	if j.service, err = openService(ctx, j.options); err != nil {
		return err
	}
	if err := j.openSink(ctx); err != nil {
		j.service.close()
		return err
	}
	return nil
}

// tellLosses has the log tell of what other processes take over from this one.
func (j *job) tellLosses(log *slog.Logger) {
	if j.database == nil {
		return
	}
	j.database.OnLoss(func(segment int) {
		if segment == 0 {
			log.Warn("this process lost the end of the job: another process has taken it over, and tells how it went")
			return
		}
		log.Warn("this process lost a segment: another process has taken it over, and records its rows", "segment", segment)
	})
}

// tellWaits has the log tell of a prune that waits for a standby.
func (j *job) tellWaits(log *slog.Logger) {
	if l, ok := j.sink.(*inDatabase); ok {
		l.pruner.OnWait = func(behind int64) {
			log.Warn("a standby is behind: the prune waits for it, and then continues by itself", "mib", behind>>20)
		}
	}
}

// tellOutages has the log tell, every ten seconds at most, that the database is waited for.
func tellOutages(ctx context.Context, log *slog.Logger) context.Context {
	var mu sync.Mutex
	var told time.Time
	return postgres.TellWaits(ctx, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(told) >= lineEvery {
			told = time.Now()
			log.Warn("waiting for the database", "cause", err)
		}
	})
}

// collectors are where the job's metrics come from.
func (j *job) collectors() []prometheus.Collector {
	ceiling := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bulksub_rate_ceiling_tokens_per_second", Help: "The rate that was asked for, or set for the job since; +Inf without a ceiling.",
	}, j.limiter.Ceiling)
	all := []prometheus.Collector{j.meter, ceiling}
	if j.database != nil {
		all = append(all, j.database)
	}
	return all
}

// run does what is left of the job: its calls, then its last work. A job that is done is only
// looked at, unless that is asked for.
func (j *job) run(ctx context.Context, s *signals, log *slog.Logger, stderr io.Writer) error {
	setup, cancel := s.until(ctx)
	defer cancel()
	switch {
	case !j.sink.finished() || j.options.verify.rows > 0:
		return j.call(ctx, setup, s, log, stderr)
	case j.options.prune.on():
		return j.end(setup, nil)
	}
	return nil
}

// call does the rows that are left, and the last work.
func (j *job) call(ctx, setup context.Context, s *signals, log *slog.Logger, stderr io.Writer) error {
	if j.sync != nil && !j.sink.finished() {
		if err := j.sync.stage(setup, j.in, j.options); err != nil {
			return err
		}
	}
	if err := j.service.warm(setup); err != nil {
		return err
	}
	if err := j.chooseAPI(setup, log); err != nil {
		return err
	}
	control, err := j.openControl(ctx, s)
	if err != nil {
		return err
	}
	defer control.close()
	working, drop := until(setup, control.stop)
	defer drop()
	for err = pipeline.ErrHeldElsewhere; errors.Is(err, pipeline.ErrHeldElsewhere); {
		// What others have taken over, or opened again, is waited for.
		if err = j.carry(ctx, control, log, stderr); err == nil {
			err = j.end(working, control)
		}
	}
	return control.verdict(err)
}

// carry runs the pipeline under a progress display, unless nothing is left.
func (j *job) carry(ctx context.Context, control *control, log *slog.Logger, stderr io.Writer) error {
	if j.sink.finished() {
		return nil
	}
	progress := startProgress(j.meter, j.in.rows, j.options.output.quiet, control.paused, log, stderr)
	defer progress.stop()
	f := j.options.service
	aimAtMemory(f.concurrency, j.options.asked)
	err := pipeline.Run(ctx, pipeline.Job{Source: j.in.source, Sink: j.sink, Service: j.service.calls, Budget: control.budget}, pipeline.Options{
		Concurrency: f.concurrency,
		BatchSize:   f.batchSize,
		Attempts:    f.attempts,
		MaxRejected: float64(f.maxRejected),
		Window:      j.options.window(),
		Patience:    f.patience,
		Stop:        control.stop,
		Meter:       j.meter,
	})
	return control.verdict(err)
}

// lastWords is how long the summary of a run that failed may take.
const lastWords = 10 * time.Second

// conclude shows the summary, whatever became of the run.
func (j *job) conclude(cmd *cobra.Command, runErr error, took time.Duration) error {
	ctx, cancel := context.WithoutCancel(cmd.Context()), context.CancelFunc(func() {})
	if runErr != nil { // perhaps for a database that was waited for long enough
		ctx, cancel = context.WithTimeout(ctx, lastWords)
	}
	defer cancel()
	if j.outcome == nil {
		sum, err := j.summarize(ctx, runErr)
		if err != nil {
			return errors.Join(runErr, err)
		}
		j.outcome = &outcome{Summary: sum}
	}
	sum := j.outcome.Summary
	j.addRun(sum, took)
	if err := sum.print(cmd.OutOrStdout(), j.options.output.json); err != nil {
		return errors.Join(runErr, err)
	}
	if runErr == nil && sum.Failed > 0 {
		return errFailedRows
	}
	return runErr
}

func (j *job) close(log *slog.Logger) {
	j.service.close()
	if err := j.sink.Close(); err != nil {
		log.Warn("the job was not closed as it should be", "err", err)
	}
	j.in.close()
}
