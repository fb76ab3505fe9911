package budget

import (
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

func mustExec(t *testing.T, db pgtest.Execer, sql string) {
	t.Helper()
	_, err := db.Exec(t.Context(), sql)
	must(t, err)
}

// ask returns the one value of a query.
func ask[T any](t *testing.T, db postgres.Querier, sql string) (v T) {
	t.Helper()
	must(t, db.QueryRow(t.Context(), sql).Scan(&v))
	return v
}
