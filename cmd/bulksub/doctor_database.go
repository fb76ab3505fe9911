package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/migrations"
)

// oldestServer is the first version of PostgreSQL that the ledger works on.
const oldestServer = 13

func (d *doctor) checkDatabase(ctx context.Context) {
	d.check(ctx, "database", func(ctx context.Context) (string, error) {
		switch {
		case d.options.usesDatabase():
		case d.options.input.table+d.options.input.query != "":
			return "", usagef("--table and --query need a database: give --database-url URL, or set DATABASE_URL")
		default:
			return "", skippedError{"none is given; results would go into a file"}
		}
		return d.connect(ctx)
	})
	d.checkLedger(ctx, "clock", d.databaseClock)
	d.checkLedger(ctx, "schema", func(ctx context.Context) (string, error) {
		return "the tables of schema bulksub are those of this program", migrations.Check(ctx, d.pool)
	})
	d.checkLedger(ctx, "rights", d.rights)
}

// checkLedger makes a check if there is a database to check.
func (d *doctor) checkLedger(ctx context.Context, name string, do func(context.Context) (string, error)) {
	if d.pool != nil {
		d.check(ctx, name, do)
	}
}

func (d *doctor) connect(ctx context.Context) (string, error) {
	pool, err := postgres.Connect(ctx, d.options.ledger.databaseURL, postgres.MostConnections)
	if err != nil {
		return "", err
	}
	d.pool = pool
	var version string
	var number int
	err = pool.QueryRow(ctx, `select current_setting('server_version'), current_setting('server_version_num')::int / 10000`).Scan(&version, &number)
	if err == nil && number < oldestServer {
		err = &configError{fmt.Errorf("it is PostgreSQL %s; %d or newer is needed", version, oldestServer)}
	}
	return "PostgreSQL " + version, err
}

func (d *doctor) databaseClock(ctx context.Context) (string, error) {
	var theirs time.Time
	before := time.Now()
	if err := d.pool.QueryRow(ctx, `select clock_timestamp()`).Scan(&theirs); err != nil {
		return "", err
	}
	return agreeing("the database", theirs, before.Add(time.Since(before)/2))
}

// rights looks for what a job does in the ledger and this user may not.
func (d *doctor) rights(ctx context.Context) (string, error) {
	var there, usage bool
	err := d.pool.QueryRow(ctx, `
		select to_regnamespace('bulksub') is not null, coalesce(has_schema_privilege(to_regnamespace('bulksub'), 'usage'), false)`).Scan(&there, &usage)
	switch {
	case err != nil:
		return "", err
	case !there:
		return "", skippedError{"there is no schema bulksub yet"}
	case !usage:
		return "", &configError{fmt.Errorf("this user may not use schema bulksub; grant usage on schema bulksub")}
	}
	rows, _ := d.pool.Query(ctx, `
		select format('grant %s on bulksub.%s', string_agg(need, ', ' order by array_position('{select,insert,update,delete}', need)), name)
		from (values ('jobs', 'select insert update'), ('segments', 'select insert update'), ('rows', 'select insert delete'),
			('pruned', 'select insert update'), ('budgets', 'select insert update'), ('tokens', 'select insert update'),
			('synced', 'select insert'), ('subscriptions', 'select insert update delete'),
			('plans', 'select insert update delete'), ('planned', 'select insert delete')) as needed (name, needs),
			pg_class c, unnest(string_to_array(needs, ' ')) as need
		where c.relnamespace = to_regnamespace('bulksub') and c.relname = name and not has_table_privilege(c.oid, need)
		group by name order by name`)
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	if len(missing) > 0 {
		return "", &configError{fmt.Errorf("this user may not do in schema bulksub what a job does: %s", strings.Join(missing, "; "))}
	}
	return "this user may keep jobs and results in schema bulksub", nil
}
