package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

const (
	segmentRows = 50_000
	pageRows    = 5_000
)

// Postgres is a source of the rows of a table, a view or a query, in the order
// of their key.
//
// With a group column the order is that of the group and then of the key, a
// segment is read at once, and an index on both (the group as text, collate "C")
// saves a pass over the table for each.
//
// A segment is a range of keys; it is cut by looking 50,000 keys ahead, which an
// index on the key answers alone, or at five keys where integers stand close
// together. Rows are read in keyset pages of 5,000, each a statement of its own that
// is over before its first row is handed out, so no snapshot is held while the
// service is waited for. A row that is inserted while the job runs is read if its key
// lies in what has not been read yet; one that is deleted is not missed.
type Postgres struct {
	pool     *pgxpool.Pool
	relation *postgres.Relation
	tasks    Tasks
	order    []order
	pageRows int
	room     []pipeline.Row // memory of a page, for the next one
	retry    postgres.Retrier
}

var _ pipeline.Source = (*Postgres)(nil)

// NewPostgres returns a source of the relation's rows, grouped by its first further
// column or not. A database that goes away while they are read is waited for as long
// as patience says.
func NewPostgres(pool *pgxpool.Pool, relation *postgres.Relation, tasks Tasks, grouped bool, patience time.Duration) *Postgres {
	p := &Postgres{
		pool:     pool,
		relation: relation,
		tasks:    tasks,
		order:    []order{{relation.Key.SQL(), relation.Key.Type}},
		pageRows: pageRows,
		retry:    postgres.Retrier{Patience: patience, Timeout: 5 * time.Minute},
	}
	if grouped {
		group := fmt.Sprintf(`coalesce(%s::text, '') collate "C"`, relation.Further[0].SQL())
		p.order = append([]order{{group, "text"}}, p.order...)
		p.pageRows = segmentRows
	}
	return p
}

// order is an expression by which rows are ordered, and its type.
type order struct{ sql, typ string }

// bounds is a range of places in the order: after the one, up to and with the
// other. A place is the text of each expression of the order.
type bounds struct {
	After []string `json:"after"` // nil: from the start
	To    []string `json:"to"`
}

// Estimate is the planner's idea of the number of rows.
func (p *Postgres) Estimate(ctx context.Context) (int64, error) {
	var plan []byte
	if err := p.pool.QueryRow(ctx, "explain (format json) "+p.relation.Select("1", "")).Scan(&plan); err != nil {
		return 0, p.relation.Explain(err)
	}
	var explained []struct {
		Plan struct {
			Rows int64 `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal(plan, &explained); err != nil || len(explained) == 0 {
		return 0, fmt.Errorf("the plan of the input has an unknown shape: %s", plan)
	}
	return explained[0].Plan.Rows, nil
}

// compare is a condition on the order, and the arguments with its own: nothing if
// there is no place.
func (p *Postgres) compare(operator string, place []string, args []any) (condition string, all []any) {
	if place == nil {
		return "", args
	}
	var left, right []string
	for i, o := range p.order {
		args = append(args, place[i])
		left = append(left, o.sql)
		right = append(right, fmt.Sprintf("$%d::text::%s", len(args), o.typ))
	}
	return fmt.Sprintf("(%s) %s (%s)", strings.Join(left, ", "), operator, strings.Join(right, ", ")), args
}

// Rows streams the rows of a segment, page by page.
func (p *Postgres) Rows(ctx context.Context, s pipeline.Segment) iter.Seq2[pipeline.Row, error] {
	return func(yield func(pipeline.Row, error) bool) {
		b, err := p.parseBounds(s.Bounds)
		p.room = slices.Grow(p.room, p.pageRows)
		for err == nil {
			var page []pipeline.Row
			if page, b.After, err = p.page(ctx, b, p.room); err != nil || len(page) == 0 {
				break
			}
			for _, row := range page {
				if !yield(row, nil) {
					return
				}
			}
			if len(page) < p.pageRows {
				break
			}
		}
		if err != nil {
			yield(pipeline.Row{}, err)
		}
	}
}

func (p *Postgres) parseBounds(text string) (bounds, error) {
	var b bounds
	err := json.Unmarshal([]byte(text), &b)
	if err != nil || len(b.To) != len(p.order) || b.After != nil && len(b.After) != len(p.order) {
		return b, fmt.Errorf("the segment bounds %q are not a range of keys: was the job made from another kind of source?", text)
	}
	return b, nil
}

// lost says of an error that is not about the relation what it kept us from.
func (p *Postgres) lost(err error) error {
	if _, itself := errors.AsType[*postgres.RelationError](err); itself {
		return err
	}
	return fmt.Errorf("read %s: %w", p.relation.Label(), err)
}
