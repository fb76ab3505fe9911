package prune

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
)

// Unprune brings back what the job has pruned: deleted rows are inserted as they
// were, marks are taken off. A row whose key is taken again, or that is gone or
// holds another token, is left as it is; left counts those.
func (p *Pruner) Unprune(ctx context.Context) (restored, left int64, err error) {
	if err := p.letGo(ctx, 0); err != nil {
		return 0, 0, err
	}
	var marks []*string
	err = p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, _ := p.Pool.Query(ctx, `select distinct marked from bulksub.pruned where job_id = $1 and restored_at is null`, p.Job.ID)
		marks, err = pgx.CollectRows(rows, pgx.RowTo[*string])
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("look for what is pruned: %w", err)
	}
	for _, marked := range marks {
		back, not, err := p.restoreAll(ctx, marked)
		restored, left = restored+back, left+not
		if err != nil {
			return restored, left, fmt.Errorf("unprune %s: %w", p.Relation.Name, err)
		}
	}
	return restored, left, nil
}

// restoreAll brings back the rows that were marked in a column or, if that is nil,
// deleted.
func (p *Pruner) restoreAll(ctx context.Context, marked *string) (restored, left int64, err error) {
	for last, seen := int64(0), int64(chunkRows); seen == chunkRows; {
		var done, until int64
		err := p.chunk(ctx, func(ctx context.Context, tx pgx.Tx, columns []column) error {
			sql := p.reinsert(columns)
			if marked != nil {
				sql = p.unmark(*marked)
			}
			return tx.QueryRow(ctx, sql, p.Job.ID, last, chunkRows, p.Relation.Name, marked).Scan(&seen, &done, &until)
		})
		if err != nil {
			return restored, left, p.explainBack(err)
		}
		last, restored, left = until, restored+done, left+seen-done
	}
	return restored, left, nil
}

func (p *Pruner) reinsert(columns []column) string {
	r := p.Relation
	names, values := unarchive(columns)
	return restore(fmt.Sprintf(`
		inserted as (
			insert into %s as t (%s) overriding system value select %s from archived order by id
			on conflict do nothing returning %s as key
		), back as (
			select max(id) as id from archived join inserted on inserted.key = archived.row_key::%s group by row_key
		)`, r.Name, names, values, r.Key.SQL(), r.Key.Type))
}

func (p *Pruner) unmark(column string) string {
	r := p.Relation
	return restore(fmt.Sprintf(`
		back as (
			update %s t set %s = null from archived
			where %s = archived.row_key::%s and %s::text collate "C" = archived.token
			returning archived.id
		)`, r.Name, postgres.Quote(column), r.Key.SQL(), r.Key.Type, r.Token.SQL()))
}

// restore wraps what brings the archived rows back and ends in a relation of
// those that it could.
func restore(change string) string {
	return `
		with archived as (
			select id, row_key, token, "row" from bulksub.pruned
			where job_id = $1 and restored_at is null and marked is not distinct from $5 and "table" = $4 and id > $2 order by id limit $3
		), ` + change + `, noted as (
			update bulksub.pruned p set restored_at = clock_timestamp() from back where p.id = back.id returning p.id
		)
		select (select count(*) from archived), (select count(*) from noted), (select coalesce(max(id), 0) from archived)`
}

func (p *Pruner) explainBack(err error) error {
	if postgres.Code(err) == "23503" {
		return &postgres.RelationError{Relation: p.Relation.Label(), Err: err,
			Problem: "rows of other tables that the pruned ones refer to are gone; bring those back first"}
	}
	return p.explain(err)
}
