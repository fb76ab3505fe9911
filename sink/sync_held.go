package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/liveness"
	"github.com/bulksub/bulksub/internal/postgres"
)

// busyJobs lists the jobs that a process is at work on, of all in the database.
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

// alone makes sure that no other sync is at work on a topic of this one. The service could carry out their
// calls for one subscription in one order, and the results could be recorded in the other.
func (p *Postgres) alone(ctx context.Context, tx pgx.Tx) error {
	busy, err := busyJobs(ctx, tx)
	if err != nil {
		return err
	}
	rows, _ := tx.Query(ctx, `
		with other_syncs as materialized (
			select j.id, j.name, coalesce(plan.process, '') as process, j.id = any(@busy) as at_work
			from bulksub.plans as plan join bulksub.jobs j on j.id = plan.job_id
			where j.id <> @job and j.state = 'open' and (plan.opened_at > clock_timestamp() - @lease::interval or j.id = any(@busy))
		), topics as materialized (
			select distinct topic from bulksub.planned where job_id = @job and exists (select from other_syncs)
		)
		select name, process, at_work from other_syncs o
		where exists (select from bulksub.planned p where p.job_id = o.id and p.topic in (select topic from topics))`,
		pgx.StrictNamedArgs{"job": p.job.ID, "lease": p.lease, "busy": append([]int64{}, busy...)})
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

// unhindered makes sure that the job of this caller may sync the topics. fresh are those of them that come
// under sync now.
func (c caller) unhindered(ctx context.Context, tx pgx.Tx, topics, fresh []string) error {
	if err := c.sameService(ctx, tx, topics); err != nil {
		return err
	}
	return c.newcomers(ctx, tx, fresh)
}

// sameService makes sure that the beliefs about the topics are about the service that is called.
func (c caller) sameService(ctx context.Context, tx pgx.Tx, topics []string) error {
	other := OtherServiceError{Called: c.service}
	err := tx.QueryRow(ctx, `select topic, service from bulksub.synced where service <> $1 and topic = any($2) limit 1`,
		c.service, topics).Scan(&other.Topic, &other.Service)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err == nil:
		return &other
	}
	return err
}

// OtherServiceError is a topic that is under sync for the service at another address.
type OtherServiceError struct{ Topic, Service, Called string }

func (e *OtherServiceError) Error() string {
	return fmt.Sprintf("nothing was sent: topic %s is under sync for %s, and this run would call %s; use another database for a rehearsal, "+
		"and to move for good, delete the topic from bulksub.synced and bulksub.subscriptions", e.Topic, e.Service, e.Called)
}

// newcomers makes sure that no other job has a call under way for a topic that comes under sync now. The
// job has not announced such a call, and the service could carry it out after the calls of the sync.
func (c caller) newcomers(ctx context.Context, tx pgx.Tx, fresh []string) error {
	var other string
	var atWork bool
	var until time.Time
	err := tx.QueryRow(ctx, `
		with fresh as (select unnest(@fresh::text[]) as topic)
		select name, coalesce(lease_end > clock_timestamp(), false), until
		from bulksub.jobs j, lateral (
			select max(lease_end) as lease_end, greatest(j.unheard_until, max(lease_end) + @doubt_for::interval) as until
			from bulksub.segments where job_id = j.id and number > 0 and not done and owner is not null) as last
		where id <> @job and until > clock_timestamp()
			and asked->>'command' <> 'info' and not exists (select from bulksub.plans where job_id = j.id)
			and exists (select from fresh where asked ? 'topic column' or topic in (asked->>'from', asked->>'to')
				or topic = any(string_to_array(asked->>'topic', ', ')))
		limit 1`, pgx.StrictNamedArgs{"job": c.job, "doubt_for": c.doubtFor, "fresh": fresh}).Scan(&other, &atWork, &until)
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
