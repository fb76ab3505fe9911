package main

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// with does something with a connection of its own.
func with(ctx context.Context, url string, use func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return use(conn)
}

// do runs one statement.
func do(ctx context.Context, url, sql string) error {
	return with(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}
