package sink

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

// Effect is what the transaction that records results does besides: both last, or
// neither does. It is given the results that the transaction writes, and never those of
// a lost segment, nor those that an earlier try has written. It is called by one goroutine
// at a time, and again with the same results when the transaction is tried again. Its
// error is that of Record; nothing is retried for a [*postgres.RelationError].
type Effect func(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error

// Also adds an effect to the transactions of Record. Call it before the first of
// them.
func (p *Postgres) Also(e Effect) { p.effects = append(p.effects, e) }

// write writes the results, what they say of topics under sync, and all effects.
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
