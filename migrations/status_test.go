package migrations_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/migrations"
)

func TestAnEmptyDatabaseIsPendingAndStaysEmpty(t *testing.T) {
	pool := emptyPool(t)
	status, err := migrations.Status(t.Context(), pool)
	if err != nil || len(status) == 0 || !status[0].Pending() || status[0].Name != "00001_ledger" {
		t.Errorf("status %v, %v; want 00001_ledger pending", status, err)
	}
	err = migrations.Check(t.Context(), pool)
	if _, ok := errors.AsType[*migrations.PendingError](err); !ok || !strings.Contains(err.Error(), "`bulksub db migrate`") {
		t.Errorf("check: %v, want a PendingError that names the command", err)
	}
	if schemaExists(t, pool) {
		t.Error("looking at the schema created it")
	}
}

func TestStatusTellsWhen(t *testing.T) {
	pool := pgtest.New(t)
	mustExec(t, pool, `set timezone = 'Asia/Kolkata'`)
	status, err := migrations.Status(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range status {
		if age := time.Since(m.AppliedAt); age < 0 || age > time.Hour {
			t.Errorf("%s was applied at %v", m.Name, m.AppliedAt)
		}
	}
}

func TestCheckListsWhatIsMissing(t *testing.T) {
	pool := emptyPool(t)
	if _, err := migrations.MigrateFS(t.Context(), pool, steps(`select 1`)); err != nil {
		t.Fatal(err)
	}
	err := migrations.CheckFS(t.Context(), pool, steps(`select 1`, `select 2`, `select 3`))
	pending, ok := errors.AsType[*migrations.PendingError](err)
	if !ok || !slices.Equal(pending.Names, []string{"00002_step", "00003_step"}) {
		t.Errorf("check: %v, want steps 2 and 3 pending", err)
	}
}

func TestCheckRefusesANewerSchema(t *testing.T) {
	pool := emptyPool(t)
	if _, err := migrations.MigrateFS(t.Context(), pool, steps(`select 1`, `select 2`)); err != nil {
		t.Fatal(err)
	}
	err := migrations.CheckFS(t.Context(), pool, steps(`select 1`))
	newer, ok := errors.AsType[*migrations.NewerError](err)
	if !ok || newer.Database != 2 || newer.Known != 1 {
		t.Errorf("check: %v, want a NewerError from 2 to 1", err)
	}
}
