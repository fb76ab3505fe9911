package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// The ways to prune.
const (
	PruneDelete = "delete" // the row goes, into the archive
	PruneMark   = "mark"   // a column of the row gets the time
)

const pruneChunk = 1000

// Pruner takes the rows whose token the service says is gone out of a table, or
// marks them there, and brings them back.
//
// Only a row that still holds the token that was judged is touched, and in the
// same statement the whole row goes into bulksub.pruned (P4). Each statement is
// a transaction of at most 1,000 rows; a run that was cut short is finished by
// pruning again.
type Pruner struct {
	Pool     *pgxpool.Pool
	Job      Job
	Relation *postgres.Relation
	Mode     string  // PruneDelete or PruneMark
	Column   string  // that is marked
	Max      float64 // the share of the job's rows that may go; 1: no limit at all
	Retry    postgres.Retrier
}

// HeldBackError is the prune brake: too many rows would go.
type HeldBackError struct {
	Job                string
	NotFound, Rows, OK int64
	Max                float64
}

func (e *HeldBackError) Error() string {
	why := fmt.Sprintf("%d of %d rows were not found, more than %.0f %%", e.NotFound, e.Rows, 100*e.Max)
	if e.OK == 0 {
		why = fmt.Sprintf("%d rows were not found and not one was ok", e.NotFound)
	}
	return fmt.Sprintf("nothing was pruned: %s. Look at them (select * from bulksub.results where job = '%s' and status = 'not_found'), "+
		"and if they are to go: bulksub prune %s --prune-max %.0f%%", why, e.Job, e.Job, 100*e.needed())
}

// needed is the limit at which the brake would let go.
func (e *HeldBackError) needed() float64 {
	if e.OK == 0 {
		return 1
	}
	return float64(100*e.NotFound/e.Rows+1) / 100
}

// Check reports a [*postgres.RelationError] if the relation's rows cannot be
// pruned by this user. It changes nothing.
func (p *Pruner) Check(ctx context.Context) error {
	r := p.Relation
	flaw := func(format string, args ...any) error {
		return &postgres.RelationError{Relation: r.Label(), Problem: fmt.Sprintf(format, args...)}
	}
	if r.Kind != "table" {
		return flaw("only the rows of a table can be pruned, and this is a %s", r.Kind)
	}
	privilege := map[string]string{PruneDelete: "delete", PruneMark: "update"}[p.Mode]
	var granted bool
	if err := p.Pool.QueryRow(ctx, `select has_table_privilege($1, $2)`, r.Name, privilege).Scan(&granted); err != nil {
		return r.Explain(err)
	}
	if !granted {
		return flaw("this user may not prune it; grant %s", privilege)
	}
	if p.Mode != PruneMark {
		return nil
	}
	var kind string
	err := p.Pool.QueryRow(ctx, `
		select format_type(atttypid, atttypmod) from pg_attribute
		where attrelid = to_regclass($1) and attname = $2 and not attisdropped`, r.Name, p.Column).Scan(&kind)
	if err == pgx.ErrNoRows {
		return flaw("there is no column %q to mark; add one (alter table %s add column %s timestamptz) or name one with --prune-column",
			p.Column, r.Name, postgres.Quote(p.Column))
	}
	if err == nil && kind != "timestamp with time zone" {
		return flaw("the column %q is of type %s; a mark is a timestamptz", p.Column, kind)
	}
	return r.Explain(err)
}

// Prune prunes the job's not-found rows, unless the brake holds it back with a
// [*HeldBackError]. Rows that were pruned before, or hold another token by now,
// are left alone.
func (p *Pruner) Prune(ctx context.Context) error {
	counts, err := countResults(ctx, p.Pool, p.Job.ID)
	if err != nil {
		return err
	}
	gone, rows, ok := counts[pipeline.NotFound], counts.Rows(), counts[pipeline.OK]
	if gone == 0 {
		return nil
	}
	if p.Max < 1 && (ok == 0 || float64(gone) > p.Max*float64(rows)) {
		return &HeldBackError{Job: p.Job.Name, NotFound: gone, Rows: rows, OK: ok, Max: p.Max}
	}
	found, _ := p.Pool.Query(ctx, `
		select number from bulksub.segments
		where job_id = $1 and (not done or (counts->>'not_found')::bigint > 0) order by number`, p.Job.ID)
	segments, err := pgx.CollectRows(found, pgx.RowTo[int])
	if err != nil {
		return fmt.Errorf("look for rows to prune: %w", err)
	}
	for _, segment := range segments {
		if err := p.pruneSegment(ctx, segment); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pruner) pruneSegment(ctx context.Context, segment int) error {
	sql := p.statement()
	for last, more := "", true; more; {
		err := p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
			var seen int
			var until *string
			err := p.Pool.QueryRow(ctx, sql, p.Job.ID, segment, last, pruneChunk, p.Relation.Name, p.Mode).Scan(&seen, &until)
			if until != nil && err == nil {
				last = *until
			}
			more = seen == pruneChunk
			return p.explain(err)
		})
		if err != nil {
			return fmt.Errorf("prune %s: %w", p.Relation.Name, err)
		}
	}
	return nil
}

// statement prunes the next not-found rows of a segment.
func (p *Pruner) statement() string {
	r := p.Relation
	where := fmt.Sprintf("where %s = j.row_key::%s and %s::text = j.token", r.Key.SQL(), r.Key.Type, r.Token.SQL())
	change := "delete from " + r.Name + " t using judged j " + where + " returning j.row_key, j.token, to_jsonb(t) as was"
	if p.Mode == PruneMark {
		mark := postgres.Quote(p.Column)
		change = fmt.Sprintf("update %s t set %s = clock_timestamp() from judged j %s and t.%s is null returning j.row_key, j.token, to_jsonb(t) || jsonb_build_object(%s, null) as was",
			r.Name, mark, where, mark, quoteLiteral(p.Column))
	}
	return `
		with judged as (
			select row_key, token from bulksub.rows
			where job_id = $1 and segment = $2 and status = 'not_found' and row_key > $3 order by row_key limit $4
		), changed as (` + change + `), archived as (
			insert into bulksub.pruned (job_id, "table", row_key, token, mode, "row")
			select $1, $5, row_key, token, $6, was from changed
		)
		select count(*), max(row_key) from judged`
}

func (p *Pruner) explain(err error) error {
	if postgres.Code(err) == "23503" {
		return &postgres.RelationError{Relation: p.Relation.Label(), Err: err,
			Problem: "other tables refer to rows that are to go; prune with --prune mark, or let those references cascade"}
	}
	return p.Relation.Explain(err)
}

// Pruned counts the job's rows that are pruned now.
func Pruned(ctx context.Context, pool *pgxpool.Pool, job Job) (int64, error) {
	var n int64
	err := pool.QueryRow(ctx, `select count(*) from bulksub.pruned where job_id = $1 and restored_at is null`, job.ID).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count what is pruned: %w", err)
	}
	return n, nil
}
