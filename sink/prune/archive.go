package prune

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
)

// column is a column of the table that is pruned.
type column struct {
	Name, Type string
	Generated  bool // computed from others, and not to be inserted
}

// chunk runs a statement in a transaction of its own, with the columns that the
// table has until the transaction ends. Values become text there, and are read
// back, under the same settings whoever prunes and whoever brings back.
func (p *Pruner) chunk(ctx context.Context, do func(context.Context, pgx.Tx, []column) error) error {
	return p.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `set local datestyle to iso; set local intervalstyle to postgres;
			set local extra_float_digits to 3; set local lc_monetary to 'C'; select from `+p.Relation.Name+` where false`)
		if err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, `
			select attname::text, format_type(atttypid, atttypmod), attgenerated <> '' from pg_attribute
			where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum`, p.Relation.Name)
		columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
		if err != nil {
			return err
		}
		return do(ctx, tx, columns)
	})
}

// transact runs do in a transaction behind the fence.
func (p *Pruner) transact(ctx context.Context, do func(context.Context, pgx.Tx) error) error {
	return p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return postgres.Transact(ctx, p.Pool, func(tx pgx.Tx) error {
			if p.Fence != nil {
				if err := p.Fence(ctx, tx); err != nil {
					return err
				}
			}
			return do(ctx, tx)
		})
	})
}

// archive writes the row t down: an object of the columns' values as text.
// to_jsonb(t) would not do: in it a json value loses its spelling, a jsonb null
// becomes the absence of a value, and an array forgets where it begins.
func archive(columns []column) string {
	var names, values []string
	for _, c := range columns {
		names = append(names, postgres.Literal(c.Name))
		values = append(values, "t."+postgres.Quote(c.Name)+"::text")
	}
	return fmt.Sprintf("jsonb_object(array[%s], array[%s])", strings.Join(names, ", "), strings.Join(values, ", "))
}

// unarchive reads the columns that can be inserted back from what [archive] wrote.
func unarchive(columns []column) (names, values string) {
	var n, v []string
	for _, c := range columns {
		if !c.Generated {
			n = append(n, postgres.Quote(c.Name))
			v = append(v, fmt.Sprintf(`(archived."row"->>%s)::%s`, postgres.Literal(c.Name), c.Type))
		}
	}
	return strings.Join(n, ", "), strings.Join(v, ", ")
}
