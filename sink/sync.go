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

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/postgres"
)

// Sync says what the service is to hold, and how far a plan may go to get there.
type Sync struct {
	// Relation yields the wanted tokens. Its first further column holds the row's
	// topic, if Topic is empty.
	Relation *postgres.Relation
	Topic    string
	// AssertAll sends what is believed already again, OlderThan only what the
	// service has not acknowledged for so long; 0: nothing.
	AssertAll bool
	OlderThan time.Duration
	// Batch is how many tokens a call takes: for Difference.Batches.
	Batch int

	AllowEmpty bool    // nothing at all may be wanted
	MaxRemove  float64 // the share of what is believed that may be removed; 1: all of it

	busy []int64 // jobs at work, which will themselves say what became of what they send
}

// Difference counts what a sync is to send.
type Difference struct {
	Wanted     int64 `json:"wanted"`     // tokens that are to be subscribed to a topic, each counted once for it
	Believed   int64 `json:"believed"`   // what the service is believed to hold for the topics
	Add        int64 `json:"add"`        // wanted and not believed
	Assert     int64 `json:"assert"`     // wanted, believed and sent again
	Remove     int64 `json:"remove"`     // believed and not wanted
	Doubted    int64 `json:"doubted"`    // of those, the service has never said that it holds them
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
	if removed, of := e.Difference.sure(); exceeds(removed, of, e.Max) {
		wrong = append(wrong, fmt.Sprintf("%d of %d subscriptions would be removed, more than %.0f %%", removed, of, 100*e.Max))
		flags = append(flags, fmt.Sprintf("--max-remove %d%%", percentAbove(removed, of)))
	}
	return fmt.Sprintf("nothing was sent: %s; look at the table or query, and if that is right, add %s",
		strings.Join(wrong, ", and "), strings.Join(flags, " "))
}

// brake holds back what looks like an accident.
func (s Sync) brake(d Difference) error {
	empty := d.Wanted == 0 && !s.AllowEmpty
	if removed, of := d.sure(); empty || exceeds(removed, of, s.MaxRemove) {
		return &SyncBrakeError{Difference: d, Empty: empty, Max: s.MaxRemove}
	}
	return nil
}

// sure is what would be removed of what is believed, without what may never have been held: to
// remove that is no accident.
func (d Difference) sure() (removed, of int64) { return d.Remove - d.Doubted, d.Believed - d.Doubted }

const (
	// planning is the advisory lock under which syncs are planned, one after the
	// other.
	planning = 0x62756c6b_73756202
	// planTimeout bounds the computing of a difference, and the waiting for that of
	// another process.
	planTimeout = time.Hour
)

// Compare computes the difference and changes nothing.
func Compare(ctx context.Context, pool *pgxpool.Pool, asked Asked, s Sync) (d Difference, err error) {
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, planSettings); err != nil {
			return err
		}
		if s.busy, err = busyJobs(ctx, tx); err != nil {
			return err
		}
		d, err = s.compare(ctx, tx, s.difference(asked.kind()))
		return err
	})
	if err != nil {
		return d, fmt.Errorf("compute the difference: %w", err)
	}
	return d, s.brake(d)
}

// Stage computes the difference in the database, by one statement and in one
// transaction that leaves all of it or nothing: the topics are under sync from
// then on, and the rows to send are those of [Postgres.Planned]. A job that has
// a plan keeps it; a process that finds another at planning waits. It is a
// [*SyncBrakeError] if the difference looks like an accident, a [*HeldError]
// if another sync is at work on the same topic, or another job may yet change one that comes under
// sync now, and an [*OtherServiceError] if that would call another service.
func (p *Postgres) Stage(ctx context.Context, s Sync) (d Difference, err error) {
	var refused error
	retry := postgres.Retrier{Patience: p.retry.Patience, Timeout: planTimeout}
	err = retry.Do(ctx, func(ctx context.Context, _ bool) error {
		err := postgres.Transact(ctx, p.pool, func(tx pgx.Tx) (err error) {
			d, err = p.planAlone(ctx, tx, s)
			return err
		})
		if ours(err) {
			refused, err = err, nil
		}
		return err
	})
	if err != nil {
		return d, fmt.Errorf("plan job %s: %w", p.job.Name, err)
	}
	p.someSynced.Store(true)
	return d, refused
}

// ours reports whether it is not the database that refuses: asking again would
// change nothing.
func ours(err error) bool {
	_, brake := errors.AsType[*SyncBrakeError](err)
	_, held := errors.AsType[*HeldError](err)
	_, other := errors.AsType[*OtherServiceError](err)
	return brake || held || other
}

// planAlone plans while no other process does. Who was at work before has not seen the topics
// under sync: commits are over before this one, and it is held off by calls.
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
	if err := p.sameService(ctx, tx); err != nil {
		return d, err
	}
	return d, p.newcomers(ctx, tx)
}

// sameService makes sure that what is believed of our topics is believed of the service that
// we call.
func (p *Postgres) sameService(ctx context.Context, tx pgx.Tx) error {
	other := OtherServiceError{Called: p.caller.service}
	err := tx.QueryRow(ctx, `
		select topic, service from bulksub.synced
		where service <> $1 and topic in (select topic from bulksub.synced where kind = $2) limit 1`,
		p.caller.service, p.job.Asked.kind()).Scan(&other.Topic, &other.Service)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err == nil:
		return &other
	}
	return err
}

// OtherServiceError is a topic that is under sync at another address.
type OtherServiceError struct{ Topic, Service, Called string }

func (e *OtherServiceError) Error() string {
	return fmt.Sprintf("nothing was sent: topic %s is under sync for %s, and this run would call %s; use another database for a rehearsal, "+
		"and to move for good, delete the topic from bulksub.synced and bulksub.subscriptions", e.Topic, e.Service, e.Called)
}

// newcomers makes sure that no call is on its way for a topic that comes under sync now: its job
// has not announced it, and it could be done after ours.
func (p *Postgres) newcomers(ctx context.Context, tx pgx.Tx) error {
	var other string
	var atWork bool
	var until time.Time
	err := tx.QueryRow(ctx, `
		with new as materialized (
			select topic from bulksub.synced group by topic having min(since) >= transaction_timestamp()
		)
		select name, coalesce(lease_end > clock_timestamp(), false), until
		from bulksub.jobs j, lateral (
			select max(lease_end) as lease_end, greatest(j.lingers, max(lease_end) + $2::interval) as until
			from bulksub.segments where job_id = j.id and number > 0 and not done and owner is not null) as last
		where id <> $1 and until > clock_timestamp()
			and asked->>'command' <> 'info' and not exists (select from bulksub.plans where job_id = j.id)
			and exists (select from new where asked ? 'topic column' or topic in (asked->>'from', asked->>'to')
				or topic = any(string_to_array(asked->>'topic', ', ')))
		limit 1`, p.job.ID, p.caller.lingers).Scan(&other, &atWork, &until)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	case atWork:
		return &HeldError{Job: "job " + other, Why: ", and may be changing a topic that comes under sync now"}
	}
	return &HeldError{Job: "job " + other, Until: until}
}

// planSettings are for a statement that may take minutes, and may sort and hash
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

// busyJobs lists the jobs that a process is at work on.
func busyJobs(ctx context.Context, db postgres.Querier) ([]int64, error) {
	rows, _ := db.Query(ctx, `
		select distinct job_id, coalesce(process, '') from bulksub.segments
		where not done and owner is not null and lease_end > clock_timestamp()`)
	var busy []int64
	var job int64
	var process string
	_, err := pgx.ForEachRow(rows, []any{&job, &process}, func() error {
		if !liveness.Dead(process) {
			busy = append(busy, job)
		}
		return nil
	})
	return busy, err
}

// overtake ends an open sync whose plan nobody is at work on, so that the next one
// plans by what is wanted now. What its calls may have changed is in doubt by itself. A plan that
// is so young that its process may not have begun is left alone.
func (p *Postgres) overtake(ctx context.Context) error {
	retry := postgres.Retrier{Patience: p.retry.Patience, Timeout: planTimeout}
	err := retry.Do(ctx, func(ctx context.Context, _ bool) error {
		_, err := p.pool.Exec(ctx, `
			with ended as (
				update bulksub.jobs j set finished_at = clock_timestamp(), state = case
					when j.planned and not exists (select from bulksub.segments where job_id = j.id and number > 0 and not done) then 'done' else 'overtaken' end
				from bulksub.plans plan
				where j.id = $1 and j.state = 'open' and plan.job_id = j.id and (plan.opened_at < clock_timestamp() - $2::interval
					or exists (select from bulksub.segments where job_id = j.id))
					and not exists (select from bulksub.segments where job_id = j.id and not done and owner is not null and lease_end > clock_timestamp())
				returning j.id, j.state
			)
			delete from bulksub.planned using ended where job_id = ended.id and ended.state = 'overtaken'`, p.job.ID, p.lease)
		return err
	})
	if err != nil {
		return fmt.Errorf("end job %s, which was cut short: %w", p.job.Name, err)
	}
	return nil
}

// alone makes sure that no other sync is at work on a topic of ours: two calls for
// one subscription at a time could be done in one order and recorded in another.
func (p *Postgres) alone(ctx context.Context, tx pgx.Tx) error {
	busy, err := busyJobs(ctx, tx)
	if err != nil {
		return err
	}
	rows, _ := tx.Query(ctx, `
		with others as materialized (
			select j.id, j.name, coalesce(plan.process, '') as process, j.id = any($3) as at_work
			from bulksub.plans as plan join bulksub.jobs j on j.id = plan.job_id
			where j.id <> $1 and j.state = 'open' and (plan.opened_at > clock_timestamp() - $2::interval or j.id = any($3))
		), ours as materialized (
			select distinct topic from bulksub.planned where job_id = $1 and exists (select from others)
		)
		select name, process, at_work from others
		where exists (select from bulksub.planned theirs where theirs.job_id = others.id and theirs.topic in (select topic from ours))`, p.job.ID, p.lease, append([]int64{}, busy...))
	var other, process string
	var atWork bool
	var held error
	_, err = pgx.ForEachRow(rows, []any{&other, &process, &atWork}, func() error {
		if atWork || !liveness.Dead(process) {
			held = &HeldError{Job: "job " + other, Why: ", and is changing a topic of this sync"}
		}
		return nil
	})
	return cmp.Or(err, held)
}

// Planned is the plan of the job, as a relation: the key is n, in whose order
// rows of one operation and topic stand together; the further columns are the
// operation and the topic.
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

// DropPlan deletes the planned rows that have a final result. What failed stays, for
// a run that asks again. It is part of the job's last work.
func (p *Postgres) DropPlan(ctx context.Context, fence Fence) error {
	for last, more := 0, true; more; {
		var next int
		err := p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
			return postgres.Transact(ctx, p.pool, func(tx pgx.Tx) error {
				if err := fence(ctx, tx); err != nil {
					return err
				}
				return tx.QueryRow(ctx, `
					with next as (
						select number from bulksub.segments where job_id = $1 and number > $2 and done order by number limit 1
					), dropped as (
						delete from bulksub.planned p using next, bulksub.rows r
						where r.job_id = $1 and r.segment = next.number and r.status <> 'failed' and p.job_id = $1 and p.n = r.row_key::bigint
					)
					select coalesce(max(number), 0) from next`, p.job.ID, last).Scan(&next)
			})
		})
		if err != nil {
			return fmt.Errorf("drop the plan of job %s: %w", p.job.Name, err)
		}
		last, more = next, next > 0
	}
	return nil
}

// kind is what a sync looks after, in words: the same for each of its jobs.
func (a Asked) kind() string {
	a = maps.Clone(a)
	delete(a, "assert")
	return a.series()
}
