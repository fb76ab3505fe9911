package migrations

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// PendingError says that the database lacks migrations that this binary needs.
type PendingError struct {
	// Names are the missing migrations, in the order in which they would be applied.
	Names []string
}

func (e *PendingError) Error() string {
	return fmt.Sprintf("the ledger's schema lacks %d migration(s), first %s: run `bulksub db migrate`",
		len(e.Names), e.Names[0])
}

// NewerError says that a newer bulksub has migrated the database: this one does not know what its tables mean now.
type NewerError struct {
	// Database is the version found, Known the newest one of this binary.
	Database, Known int64
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("the ledger's schema is at version %d, this bulksub knows %d: use the newer bulksub that migrated it",
		e.Database, e.Known)
}

// Status lists the migrations that this binary knows, in order, with the time at which each was applied. It writes
// nothing, not even to a database that has never been migrated.
func Status(ctx context.Context, pool *pgxpool.Pool) ([]Migration, error) {
	status, _, err := compare(ctx, pool, files)
	return status, err
}

// Check returns nil when the database is exactly at the version of this binary, a [*PendingError] when it is behind and
// a [*NewerError] when it is ahead. It writes nothing.
func Check(ctx context.Context, pool *pgxpool.Pool) error {
	return check(ctx, pool, files)
}

func check(ctx context.Context, pool *pgxpool.Pool, fsys fs.FS) error {
	status, newest, err := compare(ctx, pool, fsys)
	if err != nil {
		return err
	}
	if last := status[len(status)-1].Version; newest > last {
		return &NewerError{Database: newest, Known: last}
	}
	var missing []string
	for _, m := range status {
		if m.Pending() {
			missing = append(missing, m.Name)
		}
	}
	if len(missing) > 0 {
		return &PendingError{Names: missing}
	}
	return nil
}

// compare lays the database's versions beside the known ones; newest is the highest that the database holds.
func compare(ctx context.Context, pool *pgxpool.Pool, fsys fs.FS) (status []Migration, newest int64, err error) {
	status, err = known(fsys)
	if err != nil {
		return nil, 0, err
	}
	applied, err := appliedVersions(ctx, pool)
	if err != nil {
		return nil, 0, fmt.Errorf("read the ledger's schema version: %w", err)
	}
	for version := range applied {
		newest = max(newest, version)
	}
	for i := range status {
		status[i].AppliedAt = applied[status[i].Version]
	}
	return status, newest, nil
}

func appliedVersions(ctx context.Context, pool *pgxpool.Pool) (map[int64]time.Time, error) {
	var exists bool
	err := pool.QueryRow(ctx, `select to_regclass($1) is not null`, versionTable).Scan(&exists)
	if err != nil || !exists {
		return nil, err
	}
	rows, err := pool.Query(ctx, `select version_id, tstamp from `+versionTable+` where is_applied`)
	if err != nil {
		return nil, err
	}
	applied := map[int64]time.Time{}
	var version int64
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&version, &at}, func() error {
		applied[version] = at
		return nil
	})
	return applied, err
}
