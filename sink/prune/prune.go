package prune

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/internal/share"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
)

// The ways to prune.
const (
	Delete = "delete" // the row goes, into the archive
	Mark   = "mark"   // a column of the row gets the time
)

const chunkRows = 1000

// Pruner prunes the table that a job has read. It is for one goroutine.
//
// With a Lag, it looks before each transaction how far the standbys that are connected are behind, and
// waits, looking again each second, until none is further than that.
type Pruner struct {
	Pool     *pgxpool.Pool
	Job      sink.Job
	Relation *postgres.Relation
	Mode     string  // [Delete] or [Mark]
	Column   string  // that is marked
	Max      float64 // the share of the job's rows that may go
	NoneOK   bool    // where no row of the job was ok, all may go: somebody has looked
	ByHand   bool    // a person asks for this prune alone: what it lets go, the job's own lets go too until Unprune
	Retry    postgres.Retrier
	Fence    sink.Fence         // before each chunk; nil: none
	Lag      int64              // bytes of the log that a standby may have yet to replay; 0: no standby is looked at
	OnWait   func(behind int64) // told of the first wait for a standby, in bytes; nil: nobody is
	waited   bool
}

// BrakeError is the brake of a prune: too many rows would go.
type BrakeError struct {
	Job                string
	NotFound, Rows, OK int64
	Max                float64
	Mode, Column       string // as it was asked for
	Lag                int64
}

func (e *BrakeError) Error() string {
	why := fmt.Sprintf("%d of %d rows were not found, more than %.0f %%", e.NotFound, e.Rows, 100*e.Max)
	flag := fmt.Sprintf("--prune-max %.0f%%", 100*e.needed())
	if e.OK == 0 {
		why, flag = fmt.Sprintf("%d rows were not found and not one was ok", e.NotFound), "--none-ok"
	}
	return fmt.Sprintf("nothing was pruned: %s. Look at them (select * from bulksub.results where job = '%s' and status = 'not_found'), "+
		"and if they are to go: bulksub prune %s%s %s", why, e.Job, e.Job, e.way(), flag)
}

// way is how the rows were to be pruned, unless as prune does by itself.
func (e *BrakeError) way() (flags string) {
	if e.Mode == Mark {
		flags = " --prune mark --prune-column " + e.Column
	}
	if e.Lag > 0 {
		flags += fmt.Sprintf(" --prune-lag %d", e.Lag>>20)
	}
	return flags
}

// needed is the limit at which the brake would let go.
func (e *BrakeError) needed() float64 {
	return float64(share.PercentAbove(e.NotFound, e.Rows)) / 100
}

// marked is what the archive says of a row: the column that is marked, or nil.
func (p *Pruner) marked() *string {
	if p.Mode != Mark {
		return nil
	}
	return &p.Column
}

// Check reports a [*postgres.RelationError] if the relation's rows cannot be
// pruned by this user. It changes nothing.
func (p *Pruner) Check(ctx context.Context) error {
	r := p.Relation
	if r.Kind != "table" {
		return r.Flaw("only the rows of a table can be pruned, and this is a %s", r.Kind)
	}
	var inherited, readable, granted, watching bool
	err := p.Pool.QueryRow(ctx, `
		select c.relhassubclass and c.relkind = 'r', has_table_privilege(c.oid, 'delete'), not exists (
			select from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and not has_column_privilege(c.oid, a.attnum, 'select')),
			pg_has_role('pg_read_all_stats', 'usage')
		from pg_class c where c.oid = to_regclass($1)`, r.Name).Scan(&inherited, &granted, &readable, &watching)
	switch {
	case err != nil:
		return r.Explain(err)
	case inherited:
		return r.Flaw("other tables inherit from it, whose rows have columns that it does not know; prune each of those by itself")
	case !readable:
		return r.Flaw("this user may not read all of its columns, and the whole row goes into the archive; grant select on it")
	case p.Lag > 0 && !watching:
		return r.Flaw("this user may not see how far standbys are behind, and the prune is to wait for them; grant pg_read_all_stats (or pg_monitor) to it")
	case p.Mode == Mark:
		return p.checkMark(ctx)
	case !granted:
		return r.Flaw("this user may not prune it; grant delete")
	}
	return nil
}

func (p *Pruner) checkMark(ctx context.Context) error {
	r := p.Relation
	var kind string
	var granted bool
	err := p.Pool.QueryRow(ctx, `
		select format_type(atttypid, atttypmod), has_column_privilege(attrelid, attnum, 'update') from pg_attribute
		where attrelid = to_regclass($1) and attname = $2 and attnum > 0 and not attisdropped`, r.Name, p.Column).Scan(&kind, &granted)
	if errors.Is(err, pgx.ErrNoRows) {
		return r.Flaw("there is no column %q to mark; add one (alter table %s add column %s timestamptz) or name one with --prune-column",
			p.Column, r.Name, postgres.Quote(p.Column))
	}
	if err == nil && kind != "timestamp with time zone" {
		return r.Flaw("the column %q is of type %s; a mark is a timestamptz: name another column with --prune-column", p.Column, kind)
	}
	if err == nil && !granted {
		return r.Flaw("this user may not mark its rows; grant update (%s)", postgres.Quote(p.Column))
	}
	return r.Explain(err)
}

// Prune prunes the job's not-found rows, unless the brake holds it back with a
// [*BrakeError]. Rows that were pruned before, or hold another token by now,
// are left alone.
func (p *Pruner) Prune(ctx context.Context) error {
	counts, err := p.Job.Counts(ctx, p.Pool, p.Retry)
	if err != nil {
		return err
	}
	gone, rows, ok := counts[pipeline.NotFound], counts.Rows(), counts[pipeline.OK]
	if gone == 0 {
		return nil
	}
	decided, err := p.decided(ctx, gone)
	if err != nil {
		return err
	}
	if !decided && (ok == 0 && !p.NoneOK || ok > 0 && share.Exceeds(gone, rows, p.Max)) {
		return &BrakeError{Job: p.Job.Name, NotFound: gone, Rows: rows, OK: ok, Max: p.Max, Mode: p.Mode, Column: p.Column, Lag: p.Lag}
	}
	if p.ByHand {
		if err := p.letGo(ctx, gone); err != nil {
			return err
		}
	}
	segments, err := p.segments(ctx)
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

// decided reports whether a person has let go as many rows of the job, which is no question to a person who asks.
func (p *Pruner) decided(ctx context.Context, gone int64) (decided bool, err error) {
	if p.ByHand {
		return false, nil
	}
	err = p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return p.Pool.QueryRow(ctx, `select let_go >= $2 from bulksub.jobs where id = $1`, p.Job.ID, gone).Scan(&decided)
	})
	if err != nil {
		return false, fmt.Errorf("look for what was let go of job %s: %w", p.Job.Name, err)
	}
	return decided, nil
}

// letGo keeps with the job that so many rows of it may go.
func (p *Pruner) letGo(ctx context.Context, rows int64) error {
	err := p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.Pool.Exec(ctx, `update bulksub.jobs set let_go = $2 where id = $1`, p.Job.ID, rows)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep what is let go of job %s: %w", p.Job.Name, err)
	}
	return nil
}

// segments lists those that may have rows to prune.
func (p *Pruner) segments(ctx context.Context) (numbers []int, err error) {
	err = p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, _ := p.Pool.Query(ctx, `
			select number from bulksub.segments
			where job_id = $1 and (counts->>'not_found')::bigint > 0 order by number`, p.Job.ID)
		numbers, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return numbers, err
}

func (p *Pruner) pruneSegment(ctx context.Context, segment int) error {
	for last, seen := (*string)(nil), chunkRows; seen == chunkRows; {
		var until *string
		if err := p.keepPace(ctx); err != nil {
			return err
		}
		err := p.chunk(ctx, func(ctx context.Context, tx pgx.Tx, columns []column) error {
			return tx.QueryRow(ctx, p.statement(columns), p.Job.ID, segment, last, chunkRows, p.Relation.Name, p.marked()).Scan(&seen, &until)
		})
		if err != nil {
			return fmt.Errorf("prune %s: %w", p.Relation.Name, p.explain(err))
		}
		last = until
	}
	return nil
}

// statement prunes the next not-found rows of a segment. Keys are compared by the
// collation of the table, whose index they must find; tokens byte by byte.
func (p *Pruner) statement(columns []column) string {
	r := p.Relation
	where := fmt.Sprintf("where %s = j.row_key::%s and %s::text collate \"C\" = j.token", r.Key.SQL(), r.Key.Type, r.Token.SQL())
	change := "delete from " + r.Name + " t using judged j " + where + " returning j.row_key, j.token, " + archive(columns) + " as was"
	if p.Mode == Mark {
		mark := postgres.Quote(p.Column)
		change = fmt.Sprintf("update %s t set %s = clock_timestamp() from judged j %s and t.%s is null returning j.row_key, j.token, %s || jsonb_build_object(%s, null) as was",
			r.Name, mark, where, mark, archive(columns), postgres.Literal(p.Column))
	}
	return `
		with judged as (
			select row_key collate "default" as row_key, token from bulksub.rows
			where job_id = $1 and segment = $2 and status = 'not_found' and ($3::text is null or row_key > $3)
			order by rows.row_key limit $4
		), changed as (` + change + `), archived as (
			insert into bulksub.pruned (job_id, "table", row_key, token, marked, "row")
			select $1, $5, row_key, token, $6, was from changed
		)
		select count(*), max(row_key collate "C") from judged`
}

func (p *Pruner) explain(err error) error {
	problem := "the database refuses to change its rows"
	switch code := postgres.Code(err); {
	case code == "" || postgres.Passes(err):
		return err
	case code == "42P01" || code == "42703":
		return p.Relation.Explain(err)
	case code == "42501":
		problem = "this user may not prune it; grant select, insert, update and delete on it and in schema bulksub"
	case code == "23503":
		problem = "other tables refer to rows that are to go; prune with --prune mark, or let those references cascade"
	}
	return &postgres.RelationError{Relation: p.Relation.Label(), Problem: problem, Err: err}
}

// Pruned counts the job's rows that are pruned now.
func (p *Pruner) Pruned(ctx context.Context) (n int64, err error) {
	err = p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return p.Pool.QueryRow(ctx, `select count(*) from bulksub.pruned where job_id = $1 and restored_at is null`, p.Job.ID).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("count what is pruned: %w", err)
	}
	return n, nil
}
