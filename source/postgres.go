package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"
	"unicode/utf8"

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
// A segment is a range of keys; it is cut by looking 50,000 keys ahead, which an
// index on the key answers alone. Rows are read in keyset pages of 5,000, each a
// statement of its own that is over before its first row is handed out, so no
// snapshot is held while the service is waited for. A row that is inserted while
// the job runs is read if its key lies in what has not been read yet; one that is
// deleted is not missed.
type Postgres struct {
	pool     *pgxpool.Pool
	relation *postgres.Relation
	actions  []pipeline.Action
	retry    postgres.Retrier
}

var _ pipeline.Source = (*Postgres)(nil)

// NewPostgres returns a source of the relation's rows. A database that goes away
// while they are read is waited for as long as patience says.
func NewPostgres(pool *pgxpool.Pool, relation *postgres.Relation, actions []pipeline.Action, patience time.Duration) *Postgres {
	return &Postgres{
		pool:     pool,
		relation: relation,
		actions:  actions,
		retry:    postgres.Retrier{Patience: patience, Timeout: 5 * time.Minute},
	}
}

// bounds is a range of keys: after the one, up to and with the other.
type bounds struct {
	After *string `json:"after"` // nil: from the start
	To    string  `json:"to"`
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

// Next cuts a range of the next 50,000 keys.
func (p *Postgres) Next(ctx context.Context, after pipeline.Segment) (pipeline.Segment, bool, error) {
	var next bounds
	if after.Number > 0 {
		b, err := parseKeys(after.Bounds)
		if err != nil {
			return pipeline.Segment{}, false, err
		}
		next.After = &b.To
	}
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		err := p.key(ctx, &next, fmt.Sprintf("order by 1 offset %d limit 1", segmentRows-1))
		if errors.Is(err, pgx.ErrNoRows) {
			err = p.key(ctx, &next, "order by 1 desc limit 1")
		}
		return p.relation.Explain(err)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return pipeline.Segment{}, false, nil
	}
	if err != nil {
		return pipeline.Segment{}, false, p.lost(err)
	}
	text, _ := json.Marshal(next)
	return pipeline.Segment{Number: after.Number + 1, Bounds: string(text)}, true, nil
}

// key finds the key at which the next segment ends.
func (p *Postgres) key(ctx context.Context, next *bounds, order string) error {
	condition, args := p.above(next.After)
	sql := "select k::text from (" + p.relation.Select(p.relation.Key.SQL()+" as k", condition) + " " + order + ") as keys"
	var to *string
	if err := p.pool.QueryRow(ctx, sql, args...).Scan(&to); err != nil {
		return err
	}
	if to == nil {
		return p.relation.Flaw("the key column %q has nulls", p.relation.Key.Name)
	}
	if !utf8.ValidString(*to) {
		return p.relation.Flaw("the key column %q is not valid UTF-8; name another with --key-column", p.relation.Key.Name)
	}
	next.To = *to
	return nil
}

func (p *Postgres) above(key *string) (condition string, args []any) {
	if key == nil {
		return "", nil
	}
	return fmt.Sprintf("%s > $1::text::%s", p.relation.Key.SQL(), p.relation.Key.Type), []any{*key}
}

// Rows streams the rows of a segment, page by page.
func (p *Postgres) Rows(ctx context.Context, s pipeline.Segment) iter.Seq2[pipeline.Row, error] {
	return func(yield func(pipeline.Row, error) bool) {
		b, err := parseKeys(s.Bounds)
		for err == nil {
			var page []pipeline.Row
			if page, err = p.page(ctx, b); err != nil || len(page) == 0 {
				break
			}
			b.After = &page[len(page)-1].Key
			for _, row := range page {
				if !yield(row, nil) {
					return
				}
			}
			if len(page) < pageRows {
				break
			}
		}
		if err != nil {
			yield(pipeline.Row{}, err)
		}
	}
}

// page reads the next rows of the range.
func (p *Postgres) page(ctx context.Context, b bounds) ([]pipeline.Row, error) {
	k := p.relation.Key
	condition, args := p.above(b.After)
	if condition != "" {
		condition += " and "
	}
	args = append(args, b.To)
	condition += fmt.Sprintf("%s <= $%d::text::%s", k.SQL(), len(args), k.Type)
	sql := p.relation.Select(k.SQL()+"::text, "+p.relation.Token.SQL()+"::text", condition) +
		fmt.Sprintf(" order by %s limit %d", k.SQL(), pageRows)
	var page []pipeline.Row
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, err := p.pool.Query(ctx, sql, args...)
		if err == nil {
			page, err = p.collect(rows, page[:0])
		}
		return p.relation.Explain(err)
	})
	if err != nil {
		return nil, p.lost(err)
	}
	return page, nil
}

// lost says of an error that is not about the relation what it kept us from.
func (p *Postgres) lost(err error) error {
	if _, itself := errors.AsType[*postgres.RelationError](err); itself {
		return err
	}
	return fmt.Errorf("read %s: %w", p.relation.Label(), err)
}

func (p *Postgres) collect(rows pgx.Rows, page []pipeline.Row) ([]pipeline.Row, error) {
	defer rows.Close()
	for rows.Next() {
		fields := rows.RawValues()
		row := pipeline.Row{Key: string(fields[0]), Token: string(fields[1]), Actions: p.actions}
		if fields[1] == nil {
			row.Flaw = "null"
		}
		if n := len(page); n > 0 && page[n-1].Key == row.Key {
			return page, p.relation.Flaw("the key column %q is not unique: two rows share a value", p.relation.Key.Name)
		}
		page = append(page, row)
	}
	return page, rows.Err()
}

func parseKeys(text string) (bounds, error) {
	var b bounds
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return b, fmt.Errorf("the segment bounds %q are not a range of keys: was the job made from another kind of source?", text)
	}
	return b, nil
}
