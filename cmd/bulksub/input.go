package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/sink/prune"
	"github.com/bulksub/bulksub/source"
)

// fromDatabase reports whether the tokens come from the database.
func (o *jobOptions) fromDatabase() bool { return o.input.file() == "" && len(o.asked.tokens) == 0 }

// file is the file that tokens come from; empty: another place.
func (f *inputFlags) file() string { return cmp.Or(f.csv, f.jsonl) }

// open opens that file.
func (f *inputFlags) open(ctx context.Context, reading source.Reading) (*source.File, error) {
	if f.jsonl != "" {
		return source.OpenJSONLines(ctx, f.jsonl, reading)
	}
	return source.OpenCSV(ctx, f.csv, reading)
}

// usesDatabase reports whether the results go to the database: a file that is
// named for them comes first.
func (o *jobOptions) usesDatabase() bool { return o.ledger.databaseURL != "" && o.ledger.results == "" }

// input is an open input.
type input struct {
	source   pipeline.Source
	rows     int64 // as far as it is known
	asked    sink.Asked
	pool     *pgxpool.Pool      // nil: no database
	relation *postgres.Relation // nil: the tokens do not come from the database
	closers  []func()
}

func (in *input) close() {
	for _, c := range in.closers {
		c()
	}
}

func openInput(ctx context.Context, o jobOptions) (*input, error) {
	in := &input{asked: o.asked.all()}
	if o.usesDatabase() {
		pool, err := postgres.Connect(ctx, o.ledger.databaseURL, 1)
		if err != nil {
			return nil, err
		}
		in.pool = pool
		in.closers = append(in.closers, pool.Close)
	}
	if err := in.openSource(ctx, o); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *input) openSource(ctx context.Context, o jobOptions) error {
	switch {
	case len(o.asked.tokens) > 0:
		in.openArguments(o)
		return nil
	case o.input.file() != "":
		return in.openFile(ctx, o)
	default:
		return in.openRelation(ctx, o)
	}
}

func (in *input) openArguments(o jobOptions) {
	in.source = &source.List{Tokens: o.asked.tokens, Tasks: o.asked.tasks}
	in.rows = int64(len(o.asked.tokens))
	in.asked["input"] = fmt.Sprintf("%d tokens, SHA-256 %x", in.rows, sha256.Sum256([]byte(strings.Join(o.asked.tokens, "\n"))))
}

func (in *input) openFile(ctx context.Context, o jobOptions) error {
	file, err := o.input.open(ctx, o.asked.reading(o.input.tokenColumn))
	if err != nil {
		return err
	}
	in.closers = append(in.closers, func() { file.Close() })
	in.source, in.rows = file, file.Count()
	in.asked["input"] = fmt.Sprintf("%d rows, SHA-256 %s", file.Count(), file.Digest())
	in.asked["token column"] = o.input.tokenColumn
	return nil
}

const defaultTable = "bulksub.tokens"

// wanted is the relation that is asked for.
func (o *jobOptions) wanted() postgres.Wanted {
	wanted := postgres.Wanted{
		Table: o.input.table, Query: o.input.query, Where: o.input.where,
		TokenColumn: o.input.tokenColumn, KeyColumn: o.input.keyColumn, Further: o.asked.columns,
	}
	if wanted.Table == "" && wanted.Query == "" {
		wanted.Table = defaultTable
	}
	return wanted
}

func (in *input) openRelation(ctx context.Context, o jobOptions) error {
	if o.asked.sync != nil {
		return in.openWanted(ctx, o)
	}
	r, err := postgres.Resolve(ctx, in.pool, o.wanted())
	if err != nil {
		return err
	}
	in.asked["table"], in.asked["query"], in.asked["where"] = r.Name, o.input.query, o.input.where
	in.asked["token column"], in.asked["key column"] = r.Token.Name, r.Key.Name
	in.relation = r
	if err := in.checkPrune(ctx, o.prune); err != nil {
		return err
	}
	if err := in.checkImport(ctx, o.asked); err != nil {
		return err
	}
	rows := source.NewPostgres(in.pool, r, o.asked.tasks, o.asked.grouped, o.service.patience)
	in.source = rows
	in.rows, err = rows.Estimate(ctx)
	return err
}

// checkPrune makes sure that what is to be pruned at the end can be, and leaves
// out the rows that are marked already.
func (in *input) checkPrune(ctx context.Context, f pruneFlags) error {
	if !f.on() {
		return nil
	}
	p := &prune.Pruner{Pool: in.pool, Relation: in.relation, Mode: f.mode, Column: f.column, Lag: f.lag()}
	if err := p.Check(ctx); err != nil {
		return err
	}
	if f.mode == prune.Mark {
		in.relation.And("t." + postgres.Quote(f.column) + " is null")
	}
	return nil
}
