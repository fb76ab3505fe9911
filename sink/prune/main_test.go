package prune

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustExec(t *testing.T, db pgtest.Execer, sql string, args ...any) {
	t.Helper()
	_, err := db.Exec(t.Context(), sql, args...)
	must(t, err)
}

// ask returns the one value of a query.
func ask[T any](t *testing.T, db postgres.Querier, sql string) (v T) {
	t.Helper()
	must(t, db.QueryRow(t.Context(), sql).Scan(&v))
	return v
}

func wantKeys(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%s: rows %v, want %v", what, got, want)
	}
}

func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}
