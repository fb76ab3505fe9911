package prune

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
)

// many is a table of 4,500 rows of which 2,200 are gone: three chunks.
func many(t *testing.T) (*pgxpool.Pool, *Pruner) {
	db := pgtest.New(t)
	mustExec(t, db, `create table d (id int primary key, token text); insert into d select n, 't' || n from generate_series(1, 4500) n`)
	var gone []string
	for i := range 2200 {
		gone = append(gone, fmt.Sprint(2*i+1))
	}
	return db, judged(t, db, "d", "", gone...)
}

// wantManyPruned: what is in the archive is not in the table, once each.
func wantManyPruned(t *testing.T, db *pgxpool.Pool, p *Pruner) {
	t.Helper()
	wantPruned(t, p, 2200)
	if got := ask[string](t, db, `select count(*) || ' ' || (select count(distinct row_key) from bulksub.pruned) || ' ' ||
		(select count(*) from bulksub.pruned where row_key in (select id::text from d)) from d`); got != "2300 2200 0" {
		t.Errorf("rows left, rows archived, rows in both: %s", got)
	}
}

func TestPruneCutShort(t *testing.T) {
	t.Parallel()
	db, p := many(t)
	through, cut := pgtest.NewCutter(t, db)
	p.Pool = cut
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	through.Arm(func(net.Conn, []byte) error { return nil }, func(net.Conn, []byte) error {
		cancel()
		return pgtest.ErrCut
	})
	if err := p.Prune(ctx); err == nil {
		t.Error("the pruning was not cut short")
	}
	wantPruned(t, p, 1000)
	must(t, p.Prune(t.Context()))
	wantManyPruned(t, db, p)
}

func TestPruneWithUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, accident := range map[string]pgtest.Accident{"before": pgtest.CutBefore, "after": pgtest.CutAfter} {
		t.Run(name, func(t *testing.T) {
			db, p := many(t)
			before := look(t, db, "d")
			through, cut := pgtest.NewCutter(t, db)
			p.Pool = cut
			through.Arm(accident)
			must(t, p.Prune(t.Context()))
			wantManyPruned(t, db, p)
			through.Arm(accident)
			_, left, err := p.Unprune(t.Context())
			must(t, err)
			if through.Armed() || left != 0 || look(t, db, "d") != before {
				t.Errorf("not everything came back: %d left", left)
			}
		})
	}
}

// TestPruneOutlivesALostConnection cuts the questions that come before a change.
func TestPruneOutlivesALostConnection(t *testing.T) {
	t.Parallel()
	db, p := prunable(t, Delete, "3", "5")
	before := look(t, db, "devices")
	for _, test := range []struct {
		at string
		do func()
	}{
		{"sum(n)", func() { must(t, p.Prune(t.Context())) }},
		{"select number from bulksub.segments", func() { must(t, p.Prune(t.Context())) }},
		{"count(*) from bulksub.pruned", func() { wantPruned(t, p, 2) }},
		{"distinct marked", func() { wantRestored(t, p, 2, 0) }},
	} {
		c, through := pgtest.NewCutter(t, db)
		p.Pool = through
		c.ArmAt(test.at, pgtest.CutBefore)
		if test.do(); c.Armed() {
			t.Errorf("nothing was cut at %q", test.at)
		}
	}
	if look(t, db, "devices") != before {
		t.Error("not everything came back")
	}
}

func TestPruneIsRefusedByTheTable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ setup, advice string }{
		"foreign key": {`create table refs (id int references d); insert into refs values (4399)`, "--prune mark"},
		"trigger": {`create function refuse() returns trigger language plpgsql as $$ begin if old.id = 4399 then raise 'keep it'; end if; return old; end $$;
			create trigger keep before delete on d for each row execute function refuse()`, "keep it"},
	} {
		t.Run(name, func(t *testing.T) {
			db, p := many(t)
			mustExec(t, db, test.setup)
			err := p.Prune(t.Context())
			flaw, ok := errors.AsType[*postgres.RelationError](err)
			if !ok {
				t.Fatalf("pruned: %v", err)
			}
			wantText(t, flaw.Error(), "d", test.advice)
			if got := ask[string](t, db, `select (4500 - count(*)) % 1000 || ' ' || 4500 - count(*) - (select count(*) from bulksub.pruned) from d`); got != "0 0" {
				t.Errorf("rows of a cut chunk, rows gone and not archived: %s", got)
			}
		})
	}
}

func TestPruneHonoursATriggerThatKeepsRows(t *testing.T) {
	t.Parallel()
	db, p := prunable(t, Delete, "1", "2")
	mustExec(t, db, `create function keep() returns trigger language plpgsql as $$ begin if old.id = 1 then return null; end if; return old; end $$;
		create trigger keep before delete on devices for each row execute function keep()`)
	must(t, p.Prune(t.Context()))
	wantPruned(t, p, 1)
	wantKeys(t, "left", ids(t, db, "id < 3"), "1")
}
