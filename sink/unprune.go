package sink

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
)

// Unprune brings back what the job has pruned: deleted rows are inserted as they
// were, marks are taken off. A row whose key is taken again, or that is gone or
// holds another token, is left as it is; left counts those.
func (p *Pruner) Unprune(ctx context.Context) (restored, left int64, err error) {
	rows, _ := p.Pool.Query(ctx, `select distinct mode from bulksub.pruned where job_id = $1 and restored_at is null`, p.Job.ID)
	modes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, 0, fmt.Errorf("look for what is pruned: %w", err)
	}
	for _, mode := range modes {
		back, not, err := p.restoreAll(ctx, mode)
		restored, left = restored+back, left+not
		if err != nil {
			return restored, left, fmt.Errorf("unprune %s: %w", p.Relation.Name, err)
		}
	}
	return restored, left, nil
}

func (p *Pruner) restoreAll(ctx context.Context, mode string) (restored, left int64, err error) {
	sql := p.unmark()
	if mode == PruneDelete {
		columns, err := p.columns(ctx)
		if err != nil {
			return 0, 0, err
		}
		sql = p.reinsert(columns)
	}
	for last, more := int64(0), true; more && err == nil; {
		err = p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
			var seen, done int64
			var until *int64
			err := p.Pool.QueryRow(ctx, sql, p.Job.ID, last, pruneChunk, p.Relation.Name).Scan(&seen, &done, &until)
			if err != nil {
				return p.Relation.Explain(err)
			}
			if more = until != nil && seen == pruneChunk; more {
				last = *until
			}
			restored, left = restored+done, left+seen-done
			return nil
		})
	}
	return restored, left, err
}

// columns lists the table's columns that can be inserted.
func (p *Pruner) columns(ctx context.Context) ([]string, error) {
	rows, _ := p.Pool.Query(ctx, `
		select attname::text from pg_attribute
		where attrelid = to_regclass($1) and attnum > 0 and not attisdropped and attgenerated = '' order by attnum`, p.Relation.Name)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, p.Relation.Explain(err)
	}
	for i, name := range names {
		names[i] = postgres.Quote(name)
	}
	return names, nil
}

func (p *Pruner) reinsert(columns []string) string {
	list := strings.Join(columns, ", ")
	was := "was." + strings.Join(columns, ", was.")
	return restore(PruneDelete, fmt.Sprintf(`
		insert into %s as t (%s) overriding system value
		select %s from archived, jsonb_populate_record(null::%s, archived."row") as was
		on conflict do nothing returning %s::text as row_key`,
		p.Relation.Name, list, was, p.Relation.Name, p.Relation.Key.SQL()))
}

func (p *Pruner) unmark() string {
	r := p.Relation
	return restore(PruneMark, fmt.Sprintf(`
		update %s t set %s = null from archived
		where %s = archived.row_key::%s and %s::text = archived.token
		returning archived.row_key`,
		r.Name, postgres.Quote(p.Column), r.Key.SQL(), r.Key.Type, r.Token.SQL()))
}

// restore wraps the statement that brings the archived rows back and returns the
// keys of those it could.
func restore(mode, change string) string {
	return `
		with archived as (
			select id, row_key, token, "row" from bulksub.pruned
			where job_id = $1 and restored_at is null and mode = '` + mode + `' and "table" = $4 and id > $2 order by id limit $3
		), back as (` + change + `), noted as (
			update bulksub.pruned p set restored_at = clock_timestamp()
			from archived join back using (row_key) where p.id = archived.id returning p.id
		)
		select (select count(*) from archived), (select count(*) from noted), (select max(id) from archived)`
}

func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
