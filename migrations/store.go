package migrations

import (
	"context"
	"fmt"

	"github.com/pressly/goose/v3/database"
)

const versionTable = "bulksub.schema_version"

// versionStore is goose's store with a table of our own making: it lives in our schema, which the very first start has
// to create, and it cannot hold a version twice.
type versionStore struct {
	database.StoreExtender
}

var _ database.StoreExtender = versionStore{}

func newVersionStore() (versionStore, error) {
	store, err := database.NewStore(database.DialectPostgres, versionTable)
	if err != nil {
		return versionStore{}, fmt.Errorf("prepare %s: %w", versionTable, err)
	}
	extended, ok := store.(database.StoreExtender)
	if !ok {
		return versionStore{}, fmt.Errorf("prepare %s: goose's %T cannot tell whether a table exists", versionTable, store)
	}
	return versionStore{extended}, nil
}

// CreateVersionTable makes the table, and first the schema if nobody has. goose calls it in a transaction.
func (versionStore) CreateVersionTable(ctx context.Context, db database.DBTxConn) error {
	// "create schema if not exists" asks for the right to create even when the schema is there, and so would refuse a
	// role whose schema was made for it by an administrator.
	var missing bool
	if err := db.QueryRowContext(ctx, `select to_regnamespace('bulksub') is null`).Scan(&missing); err != nil {
		return fmt.Errorf("look for schema bulksub: %w", err)
	}
	if missing {
		if _, err := db.ExecContext(ctx, `create schema bulksub`); err != nil {
			return fmt.Errorf("create schema bulksub: %w", err)
		}
	}
	_, err := db.ExecContext(ctx, `create table `+versionTable+` (
		id         integer generated always as identity primary key,
		version_id bigint not null unique,
		is_applied boolean not null,
		tstamp     timestamptz not null default clock_timestamp()
	)`)
	return err
}
