package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
)

const lockNotAvailable = "55P03"

// Migrate brings the database behind pool to the newest version that this binary knows and returns the names of the
// migrations that this call applied: none when there was nothing to do, or when another process was faster.
//
// It uses a connection of its own, made with the pool's settings, and none of the pool's. While another process migrates
// it waits, until ctx ends. Each migration commits by itself: after an error the returned names are those that stay
// applied, and a later call goes on from there.
func Migrate(ctx context.Context, pool *pgxpool.Pool) (applied []string, err error) {
	return migrate(ctx, pool, files)
}

func migrate(ctx context.Context, pool *pgxpool.Pool, fsys fs.FS) (applied []string, err error) {
	db := openLocked(pool.Config())
	defer func() { err = errors.Join(err, db.Close()) }()

	provider, err := newProvider(db, fsys)
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		results = partial.Applied
	}
	for _, r := range results {
		applied = append(applied, strings.TrimSuffix(path.Base(r.Source.Path), ".sql"))
	}
	return applied, explain(err)
}

func newProvider(db *sql.DB, fsys fs.FS) (*goose.Provider, error) {
	store, err := newVersionStore()
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectCustom, db, fsys,
		goose.WithStore(store),
		goose.WithDisableGlobalRegistry(true),
	)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, nil
}

// explain says what to do about err where that is known.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == lockNotAvailable {
		return fmt.Errorf("migrate the ledger: another session holds a lock in schema bulksub for more than 10s; "+
			"end it (pg_stat_activity shows it) and run `bulksub db migrate` again: %w", err)
	}
	return fmt.Errorf("migrate the ledger: %w", err)
}
