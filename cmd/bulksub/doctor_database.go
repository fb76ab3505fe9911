package main

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	d.checkLedger(ctx, "rights", d.rights)
	d.checkLedger(ctx, "schema", func(ctx context.Context) (string, error) {
		return "the tables of schema bulksub are those of this program", migrations.Check(ctx, d.pool)
	})
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
	var readOnly bool
	err = pool.QueryRow(ctx, `
		select current_setting('server_version'), current_setting('server_version_num')::int / 10000, current_setting('transaction_read_only')::bool`).
		Scan(&version, &number, &readOnly)
	switch {
	case err == nil && number < oldestServer:
		err = &configError{fmt.Errorf("it is PostgreSQL %s; %d or newer is needed", version, oldestServer)}
	case err == nil && readOnly:
		err = errReadOnly
	}
	return "PostgreSQL " + version, err
}

var errReadOnly = errors.New("it is read-only for this user: a standby, or default_transaction_read_only is on")

func (d *doctor) databaseClock(ctx context.Context) (string, error) {
	var theirs time.Time
	before := time.Now()
	if err := d.pool.QueryRow(ctx, `select clock_timestamp()`).Scan(&theirs); err != nil {
		return "", err
	}
	return agreeing("the database", theirs, before.Add(time.Since(before)/2))
}

// rights makes sure that the user may do in the ledger what the job does there: a job of
// any kind, where none is asked for.
func (d *doctor) rights(ctx context.Context) (string, error) {
	var there bool
	switch err := d.pool.QueryRow(ctx, `select to_regnamespace('bulksub') is not null`).Scan(&there); {
	case err != nil:
		return "", err
	case !there:
		return "", skippedError{"there is no schema bulksub yet"}
	}
	return "this user may do in schema bulksub what the job does", d.options.checkRights(ctx, d.pool)
}
