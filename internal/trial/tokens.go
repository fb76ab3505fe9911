package trial

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// WriteTokens writes a CSV of the first n tokens, and returns its path.
func WriteTokens(t testing.TB, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("token\n")
	for i := range n {
		b.WriteString(iidtest.Token(1, i) + "\n")
	}
	path := filepath.Join(t.TempDir(), "tokens.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// FillTable makes a table users (id, token) of the first n tokens.
func FillTable(t testing.TB, pool *pgxpool.Pool, n int) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), "create table users (id bigint primary key, token text)"); err != nil {
		t.Fatal(err)
	}
	_, err := pool.CopyFrom(t.Context(), pgx.Identifier{"users"}, []string{"id", "token"}, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		return []any{int64(i + 1), iidtest.Token(1, i)}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
}
