package sink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// Postgres is a sink in the tables of schema bulksub. Any number of processes
// may work on one job: each claims segments, renews its leases on them in the
// background, and every write of results compares the segment's fence in the same
// transaction, so that a process that slept through its lease writes nothing
// (P9).
type Postgres struct {
	*believer // what the results say of topics under sync, for the same job

	pool    *pgxpool.Pool
	job     Job
	owner   string // random: no two processes share one, whatever their host is called
	process string // where we run, for those who can see whether we still do
	lease   time.Duration
	retry   postgres.Retrier
	held    *holdings
	records recordWriter
	effects []Effect
	metrics ledgerMetrics
	// stopRenewing ends the renewing of the leases and waits for it.
	stopRenewing func()
}

var _ pipeline.Sink = (*Postgres)(nil)

// Job is a job in the ledger.
type Job struct {
	ID    int64
	Name  string
	Asked Asked
	API   string // by which its calls go; "": not said yet
	Done  bool   // when it was opened it had ended, and had no failed row to send again
	state string
	ends  int64 // how often its end had been reached
}

const (
	// leaseFor is how long a segment stays with a process that says nothing. It
	// is renewed three times as often.
	leaseFor      = 15 * time.Second
	commitTimeout = 30 * time.Second
)

// OpenPostgres opens the job of that name, or makes it if there is none. If name is empty, a name is made from
// what is asked, with a number: the last such job goes on if it is not finished, and else the next one begins. An
// unfinished sync that has a plan does not go on without its name either: it is ended, and the next one
// plans anew. The error is a [*HeldError] if name is empty and another process is at work on the job, a [*MismatchError] if
// the job was asked something else, and a [*ClosedError] if it was cancelled. A database that goes away is waited
// for as long as patience says. Close the sink after use: until then it renews its leases.
func OpenPostgres(ctx context.Context, pool *pgxpool.Pool, name string, asked Asked, patience time.Duration) (*Postgres, error) {
	p := &Postgres{
		pool:    pool,
		owner:   rand.Text(),
		process: liveness.Here(),
		lease:   leaseFor,
		retry:   postgres.Retrier{Patience: patience, Timeout: commitTimeout},
		metrics: newLedgerMetrics(),
		held:    newHoldings(),
	}
	if err := p.open(ctx, name, asked); err != nil {
		return nil, err
	}
	p.stopRenewing = p.startRenewing(ctx)
	return p, nil
}

// OnLoss has tell called with the number of each segment of this process that another one takes over; 0 is
// the end of the job. Call it before the first Claim.
func (p *Postgres) OnLoss(tell func(segment int)) { p.held.onLoss = tell }

// Job is the job that was opened.
func (p *Postgres) Job() Job { return p.job }

func (p *Postgres) open(ctx context.Context, name string, asked Asked) error {
	if err := p.find(ctx, name, asked); err != nil {
		return err
	}
	if err := p.job.takes(asked); err != nil {
		return err
	}
	_, held, err := p.lookAround(ctx, 0)
	switch {
	case err != nil:
		return err
	case held && name == "":
		return &HeldError{Job: "job " + p.job.Name}
	case name == "" && asked["command"] == "sync":
		if err := p.overtake(ctx); err != nil {
			return err
		}
		return p.find(ctx, name, asked)
	}
	return p.reopen(ctx)
}

// find finds the job, or makes it.
func (p *Postgres) find(ctx context.Context, name string, asked Asked) error {
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) (err error) {
		if name == "" {
			p.job, err = openSeries(ctx, p.pool, asked.series(), asked)
		} else {
			p.job, err = openNamed(ctx, p.pool, name, asked)
		}
		return err
	})
	if err == nil {
		p.believer = newBeliever(p.pool, p.retry, p.job.ID, p.owner)
	}
	return err
}

// takes reports why the job is not to be worked on by a command that asks this.
func (j Job) takes(asked Asked) error {
	if found := j.Asked.differences(asked); len(found) > 0 {
		return &MismatchError{Job: "job " + j.Name, Differences: found}
	}
	return closed(j.Name, j.state)
}

// InspectPostgres finds the job that [OpenPostgres] would go on with, and changes nothing. It returns the
// errors that OpenPostgres would return, and [pgx.ErrNoRows] if OpenPostgres would make a new job.
func InspectPostgres(ctx context.Context, pool *pgxpool.Pool, name string, asked Asked) (Job, error) {
	which, by := "name = $1", name
	if name == "" {
		which, by = "series = $1 and state = 'open'", asked.series()
	}
	j, err := scanJob(pool.QueryRow(ctx, selectJob+"where "+which, by))
	if err != nil {
		return j, err
	}
	if err := j.takes(asked); err != nil || name != "" {
		return j, err
	}
	busy, err := busyJobs(ctx, pool)
	if slices.Contains(busy, j.ID) {
		err = &HeldError{Job: "job " + j.Name}
	}
	return j, err
}

const selectJob = `select id, name, asked, state, coalesce(api, ''), ended from bulksub.jobs `

func scanJob(row pgx.Row) (Job, error) {
	var j Job
	err := row.Scan(&j.ID, &j.Name, &j.Asked, &j.state, &j.API, &j.ends)
	j.Done = j.state == StateDone
	return j, err
}

// FindJob looks a job up by its name. The error is [pgx.ErrNoRows] if there is none.
func FindJob(ctx context.Context, pool *pgxpool.Pool, name string) (Job, error) {
	return scanJob(pool.QueryRow(ctx, selectJob+"where name = $1", name))
}

func openNamed(ctx context.Context, pool *pgxpool.Pool, name string, asked Asked) (Job, error) {
	_, err := pool.Exec(ctx, `insert into bulksub.jobs (name, asked) values ($1, $2) on conflict (name) do nothing`, name, asked)
	if err != nil {
		return Job{}, fmt.Errorf("make job %s: %w", name, err)
	}
	return FindJob(ctx, pool, name)
}

// openSeries opens the unfinished job of a series, or makes the next one, with a number above all that are
// taken, also by jobs that users named.
func openSeries(ctx context.Context, pool *pgxpool.Pool, series string, asked Asked) (Job, error) {
	for {
		last, err := scanJob(pool.QueryRow(ctx, selectJob+"where series = $1 order by state = 'open' desc, id desc limit 1", series))
		if err == nil && last.state == StateOpen {
			return last, nil
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return Job{}, fmt.Errorf("look for the last %s: %w", series, err)
		}
		_, err = pool.Exec(ctx, `
			insert into bulksub.jobs (name, series, asked)
			select $1::text || case when n is null then '' else '-' || n + 1 end, $1, $2
			from (
				select max(case when name = $1 then 1 else substr(name, length($1) + 2)::bigint end) as n from bulksub.jobs
				where name = $1 or starts_with(name, $1 || '-') and substr(name, length($1) + 2) ~ '^[0-9]{1,9}$'
			) as before
			where not exists (select from bulksub.jobs where series = $1 and state = 'open')
			on conflict (name) do nothing`, series, asked)
		if err != nil {
			return Job{}, fmt.Errorf("make the next %s: %w", series, err)
		}
	}
}

// reopen opens a finished job again if it has failed rows, and the segments of those rows with it. Whoever
// claims such a segment forgets its failed results and sends the rows again. The lock on the job lets one process do
// this at a time.
func (p *Postgres) reopen(ctx context.Context) error {
	if !p.job.Done {
		return nil
	}
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return postgres.Transact(ctx, p.pool, func(tx pgx.Tx) error { return p.reopenFailed(ctx, tx) })
	})
	if err != nil {
		return fmt.Errorf("open the failed rows of job %s again: %w", p.job.Name, err)
	}
	return nil
}

func (p *Postgres) reopenFailed(ctx context.Context, tx pgx.Tx) error {
	err := tx.QueryRow(ctx, `select state = 'done' from bulksub.jobs where id = $1 for update`, p.job.ID).Scan(&p.job.Done)
	if err != nil || !p.job.Done {
		return err
	}
	tag, err := tx.Exec(ctx, `
		update bulksub.segments set done = false, owner = null, counts = null
		where job_id = $1 and done and (counts->>'failed')::bigint > 0`, p.job.ID)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	p.job.Done = false
	_, err = tx.Exec(ctx, `update bulksub.jobs set state = 'open', finished_at = null where id = $1`, p.job.ID)
	return err
}

// Counts counts the results of the job, with those of earlier runs and of other processes.
func (p *Postgres) Counts(ctx context.Context) (pipeline.Counts, error) {
	return p.job.Counts(ctx, p.pool, p.retry)
}

// Counts counts the results that the job has now: it adds up the counts that finished segments have noted, and counts
// the results of open ones.
func (j Job) Counts(ctx context.Context, pool *pgxpool.Pool, retry postgres.Retrier) (pipeline.Counts, error) {
	counts := make(pipeline.Counts)
	err := retry.Do(ctx, func(ctx context.Context, _ bool) error {
		clear(counts)
		rows, _ := pool.Query(ctx, countsOf("$1"), j.ID)
		var status pipeline.Status
		var n int64
		_, err := pgx.ForEachRow(rows, []any{&status, &n}, func() error {
			counts[status] = n
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count the results: %w", err)
	}
	return counts, nil
}

func countsOf(job string) string {
	return `
		select status, sum(n)::bigint as n from (
			select c.key as status, c.value::bigint as n from bulksub.segments s, jsonb_each_text(s.counts) as c
			where s.job_id = ` + job + ` and s.done
			union all
			select r.status, r.n from bulksub.segments s cross join lateral (
				select status, sum(results) as n from bulksub.records where job_id = s.job_id and segment = s.number group by status
			) as r where s.job_id = ` + job + ` and not s.done
		) as found group by status`
}

// Close stops renewing the leases and gives the segments back, so that the next process need not wait until
// the leases run out.
func (p *Postgres) Close() error {
	p.stopRenewing()
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	_, err := p.pool.Exec(ctx, `update bulksub.segments set owner = null where job_id = $1 and owner = $2 and not done`, p.job.ID, p.owner)
	if err != nil {
		return fmt.Errorf("give the open segments back: %w", err)
	}
	return nil
}
