package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/internal/share"
)

// Sync says what the service is to hold, and how far a plan may go to get there.
type Sync struct {
	// Relation yields the wanted tokens. Its first further column holds the row's
	// topic, if Topic is empty.
	Relation *postgres.Relation
	Topic    string
	// AssertAll subscribes again everything that is wanted and believed. OlderThan does so
	// only if the service has not acknowledged it for so long; 0: for nothing.
	AssertAll bool
	OlderThan time.Duration
	// Batch is how many tokens a call takes: for Difference.Batches.
	Batch int

	AllowEmpty bool    // the wanted set may be empty
	MaxRemove  float64 // the share of what is believed that may be removed; 1: all of it

	busy []int64 // the jobs at work: each will itself record what has become of the subscriptions that it changes
}

// Difference counts what a sync is to send.
type Difference struct {
	Wanted     int64 `json:"wanted"`     // tokens that are to be subscribed to a topic, each counted once for it
	Believed   int64 `json:"believed"`   // what the service is believed to hold for the topics
	Add        int64 `json:"add"`        // wanted and not believed
	Assert     int64 `json:"assert"`     // wanted, believed and sent again
	Remove     int64 `json:"remove"`     // believed and not wanted
	Doubted    int64 `json:"doubted"`    // the part of Remove that the service has never said it holds
	Duplicates int64 `json:"duplicates"` // rows beyond the first for a token and topic that is sent
	Malformed  int64 `json:"malformed"`  // rows whose token or topic is not worth a call
	Batches    int64 `json:"batches"`
}

// Rows is how many rows the plan has.
func (d Difference) Rows() int64 { return d.Add + d.Assert + d.Remove + d.Malformed }

// SyncBrakeError is the sync brake: the wanted set is empty, or too much would be
// removed. Nothing was sent.
type SyncBrakeError struct {
	Difference Difference
	Empty      bool // nothing is wanted, and that was not allowed
	Max        float64
}

func (e *SyncBrakeError) Error() string {
	var wrong, flags []string
	if e.Empty {
		wrong, flags = append(wrong, "the wanted set has no usable row"), append(flags, "--allow-empty")
	}
	if removed, of := e.Difference.sure(); share.Exceeds(removed, of, e.Max) {
		wrong = append(wrong, fmt.Sprintf("%d of %d subscriptions would be removed, more than %.0f %%", removed, of, 100*e.Max))
		flags = append(flags, fmt.Sprintf("--max-remove %d%%", share.PercentAbove(removed, of)))
	}
	return fmt.Sprintf("nothing was sent: %s; look at the table or query, and if that is right, add %s",
		strings.Join(wrong, ", and "), strings.Join(flags, " "))
}

// brake holds back what looks like an accident.
func (s Sync) brake(d Difference) error {
	empty := d.Wanted == 0 && !s.AllowEmpty
	if removed, of := d.sure(); empty || share.Exceeds(removed, of, s.MaxRemove) {
		return &SyncBrakeError{Difference: d, Empty: empty, Max: s.MaxRemove}
	}
	return nil
}

// sure leaves out, of what would be removed and of what is believed, the subscriptions that the service has
// never said it holds: to remove those is no accident.
func (d Difference) sure() (removed, of int64) { return d.Remove - d.Doubted, d.Believed - d.Doubted }

const (
	// planning is the advisory lock under which syncs are planned, one after the
	// other.
	planning = 0x62756c6b_73756202
	// planTimeout is how long a plan may take, with the wait for another process that plans.
	planTimeout = time.Hour
)

// Compare computes the difference and changes nothing. Its errors are those of [Postgres.Stage], except that
// it does not look for other syncs. service and longest are what [Postgres.Calls] takes.
func Compare(ctx context.Context, pool *pgxpool.Pool, asked Asked, s Sync, service string, longest time.Duration) (d Difference, err error) {
	var hindered error
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, planSettings); err != nil {
			return err
		}
		if s.busy, err = busyJobs(ctx, tx); err != nil {
			return err
		}
		if d, err = s.compare(ctx, tx, s.difference(asked.kind())); err != nil {
			return err
		}
		topics, fresh, err := s.covers(ctx, tx, asked.kind())
		if err == nil {
			hindered = newCaller(0, "").calling(service, longest).unhindered(ctx, tx, topics, fresh)
		}
		if !refuses(hindered) {
			err = cmp.Or(err, hindered)
		}
		return err
	})
	if err != nil {
		return d, fmt.Errorf("compute the difference: %w", err)
	}
	return d, cmp.Or(s.brake(d), hindered)
}

// covers lists the topics that the sync would have, and as fresh those of them that would come under sync
// with it.
func (s Sync) covers(ctx context.Context, tx pgx.Tx, kind string) (topics, fresh []string, err error) {
	rows, _ := tx.Query(ctx, s.with(kind)+` select topic from covered`)
	if topics, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, nil, err
	}
	rows, _ = tx.Query(ctx, `select unnest($1::text[]) except select topic from bulksub.synced`, topics)
	fresh, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return topics, fresh, err
}

// Stage makes the plan of the job, in the database and in one transaction: the topics of the sync are
// under sync from then on, and the rows to send are those of [Postgres.Planned]. A job that has a plan
// keeps it. Stage waits while another process plans. The error is
//   - a [*SyncBrakeError] if the difference looks like an accident,
//   - a [*HeldError] if another sync is at work on a topic of this one, or if another job may still change a
//     topic that comes under sync now,
//   - an [*OtherServiceError] if a topic is under sync for another service.
func (p *Postgres) Stage(ctx context.Context, s Sync) (d Difference, err error) {
	var refused error
	retry := postgres.Retrier{Patience: p.retry.Patience, Timeout: planTimeout}
	err = retry.Do(ctx, func(ctx context.Context, _ bool) error {
		err := postgres.Transact(ctx, p.pool, func(tx pgx.Tx) (err error) {
			d, err = p.planAlone(ctx, tx, s)
			return err
		})
		if refuses(err) {
			refused, err = err, nil
		}
		return err
	})
	if err != nil {
		return d, fmt.Errorf("plan job %s: %w", p.job.Name, err)
	}
	return d, refused
}

// refuses reports whether the error refuses the plan. It is not the database's then, and to try again
// would change nothing.
func refuses(err error) bool {
	_, brake := errors.AsType[*SyncBrakeError](err)
	_, held := errors.AsType[*HeldError](err)
	_, other := errors.AsType[*OtherServiceError](err)
	return brake || held || other
}

// planAlone plans while no other process plans. A job that was at work before does not know the topics
// that come under sync now: membership waits for its commits, and its calls make unhindered refuse.
func (p *Postgres) planAlone(ctx context.Context, tx pgx.Tx, s Sync) (d Difference, err error) {
	if _, err := tx.Exec(ctx, planSettings+fmt.Sprintf("; select pg_advisory_xact_lock(%d)", planning)); err != nil {
		return d, err
	}
	if d, err = p.plan(ctx, tx, s); err != nil {
		return d, err
	}
	if err := p.alone(ctx, tx); err != nil {
		return d, err
	}
	if _, err = tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, membership); err != nil {
		return d, err
	}
	topics, fresh, err := p.covered(ctx, tx)
	if err != nil {
		return d, err
	}
	return d, p.caller.unhindered(ctx, tx, topics, fresh)
}

// covered lists the topics of the sync, and as fresh those that come under sync with it.
func (p *Postgres) covered(ctx context.Context, tx pgx.Tx) (topics, fresh []string, err error) {
	err = tx.QueryRow(ctx, `
		select array(select topic from bulksub.synced where kind = $1),
			array(select topic from bulksub.synced group by topic having min(since) >= transaction_timestamp())`,
		p.job.Asked.kind()).Scan(&topics, &fresh)
	return topics, fresh, err
}

// planSettings are for a statement that may take minutes, and that may sort and hash
// millions of tokens.
const planSettings = `set local statement_timeout = 0; set local work_mem = '64MB'`

// plan finds the job's plan, or makes it.
func (p *Postgres) plan(ctx context.Context, tx pgx.Tx, s Sync) (d Difference, err error) {
	err = tx.QueryRow(ctx, `update bulksub.plans set opened_at = clock_timestamp(), process = $2 where job_id = $1 returning difference`,
		p.job.ID, p.process).Scan(&d)
	if !errors.Is(err, pgx.ErrNoRows) {
		return d, err
	}
	if s.busy, err = busyJobs(ctx, tx); err != nil {
		return d, err
	}
	if d, err = s.compare(ctx, tx, s.staging(p.job.Asked.kind(), p.caller.service, p.job.ID)); err != nil {
		return d, err
	}
	if err := s.brake(d); err != nil {
		return d, err
	}
	_, err = tx.Exec(ctx, `insert into bulksub.plans (job_id, difference, process) values ($1, $2, $3)`, p.job.ID, d, p.process)
	return d, err
}

// overtake ends an open sync if no process is at work on its plan, so that the next sync plans by what is
// wanted now. What its calls may have changed is in doubt already. A plan that is younger than a lease is left
// alone: its process may not have begun.
func (p *Postgres) overtake(ctx context.Context) error {
	retry := postgres.Retrier{Patience: p.retry.Patience, Timeout: planTimeout}
	err := retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.pool.Exec(ctx, `
			with finished as (
				update bulksub.jobs j set finished_at = clock_timestamp(), state = case
					when j.planned and not exists (select from bulksub.segments where job_id = j.id and number > 0 and not done) then 'done' else 'overtaken' end
				from bulksub.plans plan
				where j.id = $1 and j.state = 'open' and plan.job_id = j.id and (plan.opened_at < clock_timestamp() - $2::interval
					or exists (select from bulksub.segments where job_id = j.id))
					and not exists (select from bulksub.segments where job_id = j.id and not done and owner is not null and lease_end > clock_timestamp())
				returning j.id, j.state
			)
			delete from bulksub.planned using finished where job_id = finished.id and finished.state = 'overtaken'`, p.job.ID, p.lease)
		return err
	})
	if err != nil {
		return fmt.Errorf("end job %s, which was cut short: %w", p.job.Name, err)
	}
	return nil
}

// Planned is the plan of the job, as a relation. Its key is n: in the order of n, the rows of one operation
// and topic stand together. Its further columns are the operation and the topic.
func (p *Postgres) Planned() *postgres.Relation {
	return &postgres.Relation{
		Name:    "bulksub.planned",
		Kind:    "table",
		From:    "bulksub.planned as t",
		Where:   fmt.Sprintf("t.job_id = %d", p.job.ID),
		Key:     postgres.Column{Name: "n", Type: "bigint"},
		Token:   postgres.Column{Name: "token", Type: "text"},
		Further: []postgres.Column{{Name: "op", Type: "text"}, {Name: "topic", Type: "text"}},
	}
}

// DropPlan deletes the planned rows that have a final result. Rows that failed stay, for the run that sends
// them again. It is part of the job's last work.
func (p *Postgres) DropPlan(ctx context.Context, fence Fence) error {
	for last, more := 0, true; more; {
		var next int
		err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
			return postgres.Transact(ctx, p.pool, func(tx pgx.Tx) error {
				if err := fence(ctx, tx); err != nil {
					return err
				}
				return tx.QueryRow(ctx, dropNext, p.job.ID, last).Scan(&next)
			})
		})
		if err != nil {
			return fmt.Errorf("drop the plan of job %s: %w", p.job.Name, err)
		}
		last, more = next, next > 0
	}
	return nil
}

// dropNext looks each row up. Left to join as it likes, the planner goes by what it knows of a table that is filled and
// emptied all the time: it has taken a plan of 40,000 rows for one row, and unfolded the results for each of them.
const dropNext = `
	with next as (
		select number from bulksub.segments where job_id = $1 and number > $2 and done order by number limit 1
	), dropped as (
		delete from bulksub.planned where ctid = any(array(
			select (select ctid from bulksub.planned p where p.job_id = $1 and p.n = r.row_key::bigint)
			from next, bulksub.rows r where r.job_id = $1 and r.segment = next.number and r.status <> 'failed'))
	)
	select coalesce(max(number), 0) from next`

// kind says what a sync looks after, in the same words for each of its jobs.
func (a Asked) kind() string {
	a = maps.Clone(a)
	delete(a, "assert")
	return a.series()
}
