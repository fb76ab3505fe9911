package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/migrations"
)

// fill makes the ledger, the table that is read, and those that others than bulksub write to.
func fill(ctx context.Context, e env) error {
	pool, err := pgxpool.New(ctx, e.database)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := migrations.Migrate(ctx, pool); err != nil {
		return err
	}
	_, err = pool.Exec(ctx, `
		create table bench (id bigint primary key, token text not null);
		create table done (id bigint primary key, token text not null, topic text not null, status text not null);
		create table floor (job_id bigint not null, segment integer not null, row_key text collate "C" not null, token text not null,
			topic text not null, status text not null, code text, attempts smallint not null, registration_token text, detail json,
			recorded_at timestamptz not null default clock_timestamp(), primary key (job_id, segment, row_key))`)
	if err != nil {
		return err
	}
	_, err = pool.CopyFrom(ctx, pgx.Identifier{"bench"}, []string{"id", "token"}, pgx.CopyFromSlice(e.rows, func(i int) ([]any, error) {
		return []any{int64(i + 1), iidtest.Token(1, i)}, nil
	}))
	if err != nil {
		return err
	}
	_, err = pool.Exec(ctx, `vacuum analyze bench`)
	return err
}

// writeCSV writes the same tokens into a file.
func writeCSV(_ context.Context, e env) error {
	file, err := os.Create(e.csv)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	fmt.Fprintln(w, "token")
	for i := range e.rows {
		fmt.Fprintln(w, iidtest.Token(1, i))
	}
	return errors.Join(w.Flush(), file.Close())
}
