package sink

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

// Effect is a change that is made in the transaction that records results: both are committed, or neither
// is. It is given the results that the transaction writes. That leaves out results of a lost segment, and
// results that an earlier try has written. It is called by one goroutine at a time, and again with the same
// results when the transaction is tried again. Record returns its error, and does not try again after a
// [*postgres.RelationError].
type Effect func(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error

// Also adds an effect to the transactions of Record. Call it before the first Record.
func (p *Postgres) Also(e Effect) { p.effects = append(p.effects, e) }

// write writes the results, then what they say of topics under sync, and then has all effects.
func (p *Postgres) write(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error {
	if len(results) == 0 {
		return nil
	}
	if err := p.records.copyIn(ctx, tx, p.job.ID, results); err != nil {
		return err
	}
	if err := p.believe(ctx, tx, results); err != nil {
		return err
	}
	for _, effect := range p.effects {
		if err := effect(ctx, tx, results); err != nil {
			return err
		}
	}
	return nil
}
