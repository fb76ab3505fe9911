package sink

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/pipeline"
)

// Overview is what the ledger knows of a job.
type Overview struct {
	Job
	Line     json.RawMessage // as Keep has kept it; nil: nothing
	State    string
	Paused   bool
	Rate     *float64 // set for the job, 0 meaning no ceiling; nil: as each process was started
	Expected *int64   // rows, as far as it was known when the job was made
	Created  time.Time
	Finished *time.Time // or cancelled
	Segments Segments
	Counts   pipeline.Counts
	Pruned   int64           // rows that are pruned now
	Outcome  json.RawMessage // as End has kept it; nil: the end was not reached
}

// Segments says how far the segments of a job are. More may be cut unless all are
// planned.
type Segments struct {
	Cut     int64 `json:"cut"`
	Done    int64 `json:"done"`
	Held    int64 `json:"held"` // by processes whose lease runs, the end of the job among them
	Planned bool  `json:"planned"`
}

// Overviews looks at the newest jobs, or at the one with the name.
func Overviews(ctx context.Context, pool *pgxpool.Pool, name string, most int) ([]Overview, error) {
	rows, _ := pool.Query(ctx, `
		select j.id, j.name, j.asked, j.state, coalesce(j.api, ''), j.line, j.paused, j.rate, j.expected, j.created_at, j.finished_at, j.outcome, j.planned,
			s.cut, s.done, s.held, coalesce(c.counts, '{}'),
			(select count(*) from bulksub.pruned p where p.job_id = j.id and p.restored_at is null)
		from (select * from bulksub.jobs where $1 in ('', name) order by id desc limit $2) as j
		left join lateral (
			select count(*) filter (where number > 0) as cut, count(*) filter (where done) as done,
				count(*) filter (where not done and owner is not null and lease_end > clock_timestamp()) as held
			from bulksub.segments where job_id = j.id) as s on true
		left join lateral (select jsonb_object_agg(status, n) as counts from (`+countsOf("j.id")+`) as n) as c on true
		order by j.id desc`, name, most)
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o Overview, err error) {
		err = row.Scan(&o.ID, &o.Name, &o.Asked, &o.State, &o.API, &o.Line, &o.Paused, &o.Rate, &o.Expected, &o.Created, &o.Finished, &o.Outcome,
			&o.Segments.Planned, &o.Segments.Cut, &o.Segments.Done, &o.Segments.Held, &o.Counts, &o.Pruned)
		o.Done = o.State == StateDone
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the jobs: %w", err)
	}
	return all, nil
}

// Holder is a process that holds segments of a job.
type Holder struct {
	Process  string    `json:"process"` // where it runs, see package liveness; "": unknown
	Segments int64     `json:"segments"`
	Lease    time.Time `json:"lease_end"` // of the first that runs out, by the database's clock
}

// Holders lists the processes that hold segments of the job.
func Holders(ctx context.Context, pool *pgxpool.Pool, j Job) ([]Holder, error) {
	rows, _ := pool.Query(ctx, `
		select coalesce(process, ''), count(*), min(lease_end) from bulksub.segments
		where job_id = $1 and not done and owner is not null and lease_end > clock_timestamp()
		group by owner, process order by min(number)`, j.ID)
	holders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Holder])
	if err != nil {
		return nil, fmt.Errorf("look for who holds segments: %w", err)
	}
	return holders, nil
}

// NoteLine notes with the job, unless something is noted, from what command line it was
// made and how many rows are expected, if that is known yet, for [Overviews].
func (p *Postgres) NoteLine(ctx context.Context, line json.RawMessage, expected int64) error {
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.pool.Exec(ctx, `
			update bulksub.jobs set line = $2, expected = nullif($3, 0) where id = $1 and line is null`, p.job.ID, line, expected)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the command line of job %s: %w", p.job.Name, err)
	}
	return nil
}

// API is the name of the API by which the job's calls go, as SetAPI has noted it; "" if it
// has not.
func (p *Postgres) API() string { return p.job.API }

// SetAPI notes it, for the runs to come.
func (p *Postgres) SetAPI(ctx context.Context, name string) error {
	err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.pool.Exec(ctx, `update bulksub.jobs set api = $2 where id = $1`, p.job.ID, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the API of job %s: %w", p.job.Name, err)
	}
	p.job.API = name
	return nil
}

const resultsPage = 5_000 / mostInRecord // records

// Results streams the results of the job with one of the statuses (none: all),
// segment by segment. Each page of 5,000 at most is a statement of its own (P7): what is
// recorded meanwhile may or may not be among them.
func Results(ctx context.Context, pool *pgxpool.Pool, j Job, statuses []pipeline.Status) iter.Seq2[pipeline.Result, error] {
	return func(yield func(pipeline.Result, error) bool) {
		rows, _ := pool.Query(ctx, `select number from bulksub.segments where job_id = $1 order by number`, j.ID)
		segments, err := pgx.CollectRows(rows, pgx.RowTo[int])
		for _, segment := range segments {
			after, page := recordID{}, []pipeline.Result(nil)
			for more := true; more; more = len(page) > 0 {
				if page, err = readResults(ctx, pool, j.ID, segment, &after, statuses); err != nil {
					yield(pipeline.Result{}, fmt.Errorf("read the results of job %s: %w", j.Name, err))
					return
				}
				for _, r := range page {
					if !yield(r, nil) {
						return
					}
				}
			}
		}
		if err != nil {
			yield(pipeline.Result{}, fmt.Errorf("read the segments of job %s: %w", j.Name, err))
		}
	}
}

// recordID tells a record from others among those of a segment.
type recordID struct{ fence, first int64 }

// readResults reads those of the next records, and moves the place behind them.
func readResults(ctx context.Context, pool *pgxpool.Pool, job int64, segment int, after *recordID, statuses []pipeline.Status) ([]pipeline.Result, error) {
	rows, _ := pool.Query(ctx, `
		with next as materialized (
			select fence, first from bulksub.records
			where job_id = $1 and segment = $2 and (fence, first) > ($3, $4) and (cardinality($5::text[]) = 0 or status = any($5))
			order by fence, first limit $6
		)
		select r.fence, r.first, row_key, token, topic, status, coalesce(code, ''), attempts, coalesce(registration_token, ''), coalesce(detail::text, '')
		from next join bulksub.rows r on r.job_id = $1 and r.segment = $2 and r.fence = next.fence and r.first = next.first
		order by r.fence, r.first`, job, segment, after.fence, after.first, append([]pipeline.Status{}, statuses...), resultsPage)
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r pipeline.Result, err error) {
		r.Fate = new(pipeline.Fate)
		err = row.Scan(&after.fence, &after.first, &r.Key, &r.Token, &r.Topic, &r.Status, &r.Code, &r.Attempts, &r.RegistrationToken, &r.Detail)
		return r, err
	})
}
