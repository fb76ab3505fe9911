package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/migrations"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/sink/prune"
)

// ledger is a sink with a beginning and an end.
type ledger interface {
	pipeline.Sink
	name() string
	finished() bool
	end(context.Context, lastWork) (*outcome, error)
	prune(context.Context, sink.Fence) error
	pruned(context.Context) (int64, error)
	Tally(context.Context, []string, sink.Tally) error
	Sample(context.Context, int) ([]pipeline.Result, error)
	API() string
	SetAPI(context.Context, string) error
	Close() error
}

// openSink opens the job where its results are kept.
func (j *job) openSink(ctx context.Context) error {
	o, in := j.options, j.in
	switch {
	case in.pool != nil:
		return j.openDatabase(ctx)
	case len(o.asked.tokens) > 0 && o.ledger.results == "":
		j.few = new(sink.Memory)
		j.sink = &unrecorded{Memory: j.few}
		return nil
	}
	path := o.resultsFile()
	file, err := sink.OpenCSV(path, in.asked)
	if err != nil {
		return err
	}
	j.sink, j.results = &inFile{CSV: file, path: path}, path
	return nil
}

// resultsFile is where results go without a database.
func (o *jobOptions) resultsFile() string {
	return cmp.Or(o.ledger.results, o.input.file()+".results.csv")
}

// checkRights makes sure that the user may do in the ledger what the job does there.
func (o *jobOptions) checkRights(ctx context.Context, db postgres.Querier) error {
	needed := sink.LedgerRights()
	all := o.asked.command == ""
	if o.prune.on() || all {
		needed.Prune()
	}
	if o.asked.kind == apnsTokens || all {
		needed.Import()
	}
	if o.asked.sync != nil || all {
		needed.Sync()
	}
	return sink.CheckRights(ctx, db, needed, o.asked.changes())
}

func (j *job) openDatabase(ctx context.Context) error {
	o, in := j.options, j.in
	if err := o.checkRights(ctx, in.pool); err != nil {
		return err
	}
	if err := migrations.Check(ctx, in.pool); err != nil {
		return err
	}
	p, err := sink.OpenPostgres(ctx, in.pool, o.ledger.job, in.asked, o.service.patience)
	if err != nil {
		return err
	}
	p.Calls(o.service.name(), o.service.longest())
	in.addEffects(p, o.asked)
	if err := p.NoteLine(ctx, o.line.text(), in.rows); err != nil {
		return errors.Join(err, p.Close())
	}
	l := &inDatabase{Postgres: p}
	l.pruner = &prune.Pruner{
		Pool: in.pool, Job: p.Job(), Relation: in.relation,
		Mode: o.prune.mode, Column: o.prune.column, Max: float64(o.prune.max), Lag: o.prune.lag(),
		Retry: postgres.Retrier{Patience: o.service.patience, Timeout: pruneTimeout},
	}
	j.sink, j.database = l, p
	if o.asked.sync != nil {
		j.sync = &inSync{inDatabase: l}
		j.sink = j.sync
	}
	j.results = "table bulksub.results, where job = '" + p.Job().Name + "'"
	if o.ledger.job == "" {
		j.again = " with --job " + p.Job().Name
	}
	return nil
}

const pruneTimeout = time.Minute

// inDatabase is a job in Postgres.
type inDatabase struct {
	*sink.Postgres
	pruner *prune.Pruner
}

func (l *inDatabase) name() string   { return l.Job().Name }
func (l *inDatabase) finished() bool { return l.Job().Done }
func (l *inDatabase) prune(ctx context.Context, fence sink.Fence) error {
	l.pruner.Fence = fence
	return l.pruner.Prune(ctx)
}
func (l *inDatabase) pruned(ctx context.Context) (int64, error) {
	return l.pruner.Pruned(ctx)
}

// nothingToPrune is for results that are not of a table.
type nothingToPrune struct{}

func (nothingToPrune) prune(context.Context, sink.Fence) error { return nil }
func (nothingToPrune) pruned(context.Context) (int64, error)   { return 0, nil }

// inFile is a job in a CSV file.
type inFile struct {
	*sink.CSV
	nothingToPrune
	path string
}

func (l *inFile) name() string   { return l.path }
func (l *inFile) finished() bool { return l.Finished() }

// unrecorded is a job of a few tokens that nobody will continue.
type unrecorded struct {
	*sink.Memory
	nothingToPrune
}

func (*unrecorded) name() string                         { return "" }
func (*unrecorded) finished() bool                       { return false }
func (*unrecorded) API() string                          { return "" }
func (*unrecorded) SetAPI(context.Context, string) error { return nil }
func (*unrecorded) Close() error                         { return nil }
