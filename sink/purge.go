package sink

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
)

// Purger deletes jobs that have ended, with their results and their archive. A
// transaction deletes 10,000 rows or 100,000 results at most (P7); what a purge that was cut short
// has left is deleted by the next one.
type Purger struct {
	Pool  *pgxpool.Pool
	Name  string        // of the only job to delete; "": all that are old enough
	Older time.Duration // how long ago they must have ended, by the database's clock
	// Archive deletes also jobs with pruned rows that were not restored: those
	// cannot be brought back afterwards.
	Archive bool
	Retry   postgres.Retrier
}

const (
	purgeChunk   = 10_000
	purgeRecords = 100_000 / mostInRecord
)

// Purge deletes the jobs and returns their names. kept are those that were left
// for the sake of their archive. After an error, deleted are those that are gone.
func (p *Purger) Purge(ctx context.Context) (deleted, kept []string, err error) {
	var jobs []Job
	err = p.Retry.Do(ctx, func(ctx context.Context, _ bool) (err error) {
		jobs, kept, err = p.take(ctx)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("look for jobs to purge: %w", err)
	}
	for _, j := range jobs {
		if err := p.delete(ctx, j.ID); err != nil {
			return deleted, kept, fmt.Errorf("purge job %s: %w", j.Name, err)
		}
		deleted = append(deleted, j.Name)
	}
	return deleted, kept, nil
}

// take marks the jobs, so that nobody runs them again, and lists them.
func (p *Purger) take(ctx context.Context) (jobs []Job, kept []string, err error) {
	const old = `
		$1 in ('', name) and state in ('done', 'cancelled', 'overtaken') and finished_at <= clock_timestamp() - $2::interval and
		(unheard_until is null or unheard_until < clock_timestamp()) and
		not exists (select from bulksub.segments s where s.job_id = j.id and not s.done and s.owner is not null and s.lease_end + $3::interval > clock_timestamp())`
	const archived = `exists (select from bulksub.pruned p where p.job_id = j.id and p.restored_at is null)`
	_, err = p.Pool.Exec(ctx, `update bulksub.jobs j set state = 'purging' where `+old+` and ($4 or not `+archived+`)`, p.Name, p.Older, usualDoubt, p.Archive)
	if err != nil {
		return nil, nil, err
	}
	rows, _ := p.Pool.Query(ctx, `select name from bulksub.jobs j where `+old+` and `+archived+` order by id`, p.Name, p.Older, usualDoubt)
	if kept, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, nil, err
	}
	rows, _ = p.Pool.Query(ctx, selectJob+`where $1 in ('', name) and state = 'purging' order by id`, p.Name)
	jobs, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Job, error) { return scanJob(row) })
	return jobs, kept, err
}

// delete deletes a job. What is pruned meanwhile, and not restored, keeps the job.
func (p *Purger) delete(ctx context.Context, job int64) error {
	archive := "bulksub.pruned where restored_at is not null and"
	if p.Archive {
		archive = "bulksub.pruned where"
	}
	for _, part := range []struct {
		from  string
		order string // without one, a part of a large table might be looked for from the table's beginning
		chunk int
	}{
		{"bulksub.records where", " order by segment, fence, first", purgeRecords},
		{"bulksub.planned where", "", purgeChunk},
		{archive, "", purgeChunk},
		{"bulksub.segments where", "", purgeChunk},
	} {
		if err := p.deleteAll(ctx, part.from+" job_id = $1"+part.order, part.chunk, job); err != nil {
			return err
		}
	}
	return p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.Pool.Exec(ctx, `delete from bulksub.jobs where id = $1`, job)
		if postgres.Code(err) == "23503" {
			return fmt.Errorf("rows were pruned by it and not restored; bring them back (bulksub unprune), or purge with --with-archive: %w", err)
		}
		return err
	})
}

func (p *Purger) deleteAll(ctx context.Context, part string, chunk int, job int64) error {
	table, _, _ := strings.Cut(part, " ")
	for more := true; more; {
		err := p.Retry.Do(ctx, func(ctx context.Context, _ bool) error {
			tag, err := p.Pool.Exec(ctx, `delete from `+table+` where ctid = any(array(select ctid from `+part+` limit $2))`, job, chunk)
			more = tag.RowsAffected() > 0
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
