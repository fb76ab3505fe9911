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

	"github.com/jackc/pgx/v5"
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
		page := make([]pipeline.Row, 0, p.pageRows)
		for err == nil {
			if page, b.After, err = p.page(ctx, b, page[:0]); err != nil || len(page) == 0 {
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

// page reads the next rows of the range into the room, and says where they end.
func (p *Postgres) page(ctx context.Context, b bounds, room []pipeline.Row) (page []pipeline.Row, last []string, err error) {
	above, args := p.compare(">", b.After, nil)
	below, args := p.compare("<=", b.To, args)
	if above != "" {
		below = above + " and " + below
	}
	what, by := []string{asText(p.relation.Key), asText(p.relation.Token)}, []string{}
	for _, c := range p.relation.Further {
		what = append(what, asText(c))
	}
	for _, o := range p.order {
		by = append(by, o.sql)
	}
	sql := fmt.Sprintf("%s order by %s limit %d", p.relation.Select(strings.Join(what, ", "), below), strings.Join(by, ", "), p.pageRows)
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, err := p.pool.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
		if err == nil {
			page, last, err = p.collect(rows, room)
		}
		return p.relation.Explain(err)
	})
	if err != nil {
		return nil, nil, p.lost(err)
	}
	return page, last, nil
}

// asText is a column as a cast to text shows it, in rows of the text format: there an integer needs no cast, which makes
// a text of it and then another one.
func asText(c postgres.Column) string {
	if integer(c) {
		return c.SQL()
	}
	return c.SQL() + "::text"
}

func integer(c postgres.Column) bool {
	return slices.Contains([]string{"bigint", "integer", "smallint"}, c.Type)
}

// lost says of an error that is not about the relation what it kept us from.
func (p *Postgres) lost(err error) error {
	if _, itself := errors.AsType[*postgres.RelationError](err); itself {
		return err
	}
	return fmt.Errorf("read %s: %w", p.relation.Label(), err)
}

func (p *Postgres) collect(rows pgx.Rows, page []pipeline.Row) (_ []pipeline.Row, last []string, err error) {
	defer rows.Close()
	group, both := "", []byte(nil) // key and token in one piece
	for rows.Next() {
		values := rows.RawValues()
		both = append(append(both[:0], values[0]...), values[1]...)
		text, fields := string(both), make([]string, len(values)-2)
		for i, value := range values[2:] {
			fields[i] = string(value)
		}
		key := text[:len(values[0])]
		row := p.tasks.row(key, text[len(key):], fields)
		if values[1] == nil {
			row.Flaw = "null"
		}
		if n := len(page); n > 0 && page[n-1].Key == key {
			return page, nil, p.relation.Flaw("the key column %q is not unique: two rows share a value", p.relation.Key.Name)
		}
		page = append(page, row)
		if len(p.order) > 1 {
			group = fields[0]
		}
	}
	if n := len(page); n > 0 {
		last = []string{group, page[n-1].Key}[2-len(p.order):]
	}
	return page, last, rows.Err()
}

func (p *Postgres) parseBounds(text string) (bounds, error) {
	var b bounds
	err := json.Unmarshal([]byte(text), &b)
	if err != nil || len(b.To) != len(p.order) || b.After != nil && len(b.After) != len(p.order) {
		return b, fmt.Errorf("the segment bounds %q are not a range of keys: was the job made from another kind of source?", text)
	}
	return b, nil
}
