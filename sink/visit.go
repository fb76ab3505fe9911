package sink

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/pipeline"
)

// visit shows the results that are ok, one after the other. The fields of one are good
// until the next.
func (c *CSV) visit(ctx context.Context, see func(pipeline.Result)) error {
	file := c.file
	if c.Finished() {
		var err error
		if file, err = os.Open(c.path); err != nil {
			return &ResultsError{Path: c.path, Problem: "the results cannot be read", Err: cause(err)}
		}
		defer file.Close()
	}
	var fate pipeline.Fate
	_, err := scan(file, func(r record) error {
		if r.status == pipeline.OK {
			fate = pipeline.Fate{Topic: r.fields[2], Status: r.status, RegistrationToken: r.fields[6], Detail: r.fields[7]}
			see(pipeline.Result{Key: r.fields[0], Token: r.fields[1], Fate: &fate})
		}
		return ctx.Err()
	})
	return err
}

// visit shows the results that are ok, one after the other.
func (m *Memory) visit(see func(pipeline.Result)) {
	for _, r := range m.Results() {
		if r.Status == pipeline.OK {
			see(r)
		}
	}
}

// finished is a segment that is done.
type finished struct {
	number int
	ok     int64 // its results that are ok
}

// finished lists the segments that are done.
func (p *Postgres) finished(ctx context.Context) (list []finished, err error) {
	err = p.retry.Do(ctx, func(ctx context.Context, _ bool) error {
		rows, _ := p.pool.Query(ctx, `
			select number, coalesce((counts->>'ok')::bigint, 0) from bulksub.segments
			where job_id = $1 and done order by number`, p.job.ID)
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f finished, err error) {
			err = row.Scan(&f.number, &f.ok)
			return f, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the segments: %w", err)
	}
	return list, nil
}
