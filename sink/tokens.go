package sink

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/postgres"
)

// LoadTokens puts tokens into bulksub.tokens, all in one transaction, and returns how
// many were not there before; a token that comes twice is new once. If the outcome
// of a commit is unknown it is repeated, and what the first one has put there
// counts as known.
func LoadTokens(ctx context.Context, pool *pgxpool.Pool, retry postgres.Retrier, tokens []string) (fresh int64, err error) {
	err = retry.Do(ctx, func(ctx context.Context, _ bool) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `create temporary table if not exists bulksub_load (token text) on commit delete rows`)
			if err != nil {
				return err
			}
			_, err = tx.CopyFrom(ctx, pgx.Identifier{"pg_temp", "bulksub_load"}, []string{"token"},
				pgx.CopyFromSlice(len(tokens), func(i int) ([]any, error) { return []any{tokens[i]}, nil }))
			if err != nil {
				return err
			}
			// In the order of the tokens, so that two loads never wait for each other.
			tag, err := tx.Exec(ctx, `
				insert into bulksub.tokens (token) select distinct token from pg_temp.bulksub_load order by token on conflict do nothing`)
			fresh = tag.RowsAffected()
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("load %d tokens: %w", len(tokens), err)
	}
	return fresh, nil
}
