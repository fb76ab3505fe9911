package sink

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

var importDone = []pipeline.Action{{Op: pipeline.Import, Application: "com.example.app", Sandbox: true}}

// given is a result of a row that an import gave the token f and the row's key.
func given(c *pipeline.Claim, key string) pipeline.Result {
	r := result(c, key, pipeline.OK)
	r.RegistrationToken, r.Done = "f"+key, importDone
	return r
}

func givenAll(c *pipeline.Claim) (all []pipeline.Result) {
	for _, key := range keysOf(c.Segment) {
		all = append(all, given(c, key))
	}
	return all
}

// importing has a job with the rows of [plan] in a table, which an import writes to.
// Every row that the effects are given is counted in the table seen.
func importing(t *testing.T, db, through *pgxpool.Pool) *Postgres {
	t.Helper()
	mustExec(t, db, `
		create table if not exists devices (id int primary key, token varchar, fcm_token text);
		create table if not exists seen (row_key text);
		insert into devices select 10 * s + n, 't' || 10 * s + n from generate_series(1, 2) s, generate_series(1, 3) n on conflict do nothing`)
	relation, err := postgres.Resolve(t.Context(), db, postgres.Wanted{Table: "devices", TokenColumn: "token"})
	must(t, err)
	p, back := newPostgres(t, through, "job"), &WriteBack{Relation: relation, Column: "fcm_token"}
	must(t, back.Check(t.Context(), db))
	p.Also(KeepTokens)
	p.Also(back.Write)
	p.Also(func(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error {
		for i := range results {
			if _, err := tx.Exec(ctx, `insert into seen values ($1)`, results[i].Key); err != nil {
				return err
			}
		}
		return nil
	})
	return p
}

func wantIs(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

const (
	written = `select coalesce(string_agg(id || ' ' || fcm_token, ', ' order by id), '') from devices where fcm_token is not null`
	kept    = `select coalesce(string_agg(concat_ws(' ', token, apns_token, bundle_id, sandbox), ', ' order by token), '') from bulksub.tokens`
	seen    = `select coalesce(string_agg(row_key, ' ' order by row_key), '') from seen`
)

// TestEffectsLastWithTheResults cuts commits before they reach the server and after:
// each effect is there once, as the results are.
func TestEffectsLastWithTheResults(t *testing.T) {
	t.Parallel()
	for name, accident := range map[string]pgtest.Accident{"before": pgtest.CutBefore, "after": pgtest.CutAfter} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.New(t)
			c, through := pgtest.NewCutter(t, db)
			p := importing(t, db, through)
			first, second := claim(t, p, 2), claim(t, p, 2)
			c.Arm(accident)
			must(t, p.Record(t.Context(), append(givenAll(first)[1:], givenAll(second)...)))
			if c.Armed() {
				t.Fatal("no commit met an accident")
			}
			wantIs(t, "seen", ask[string](t, db, seen), "12 13 21 22 23")
			wantIs(t, "written", ask[string](t, db, written), "12 f12, 13 f13, 21 f21, 22 f22, 23 f23")
			wantIs(t, "results", strings.Join(recordedKeys(t, db), " "), "12 13 21 22 23")
		})
	}
}

// TestZombieHasNoEffect: what a process may not record, it may not write either (P9).
func TestZombieHasNoEffect(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	zombie, heir := importing(t, db, db), importing(t, db, db)
	lost, kept := claim(t, zombie, 2), claim(t, zombie, 2)
	mustExec(t, db, expire+` where number = 1`)
	taken := claim(t, heir, 2)
	must(t, zombie.Record(t.Context(), append(givenAll(lost), givenAll(kept)[0])))
	must(t, zombie.Record(t.Context(), givenAll(lost)))
	wantIs(t, "seen", ask[string](t, db, seen), "21")
	wantIs(t, "written", ask[string](t, db, written), "21 f21")
	must(t, heir.Record(t.Context(), givenAll(taken)[:1]))
	wantIs(t, "written", ask[string](t, db, written), "11 f11, 21 f21")
}

// TestWriteBack: only a row that still holds the token that was sent is written to, only
// where it holds no other, and only when it is ok.
func TestWriteBack(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := importing(t, db, db)
	first, second := claim(t, p, 2), claim(t, p, 2)
	mustExec(t, db, `
		update devices set token = 'T11' where id = 11; update devices set fcm_token = 'own' where id = 12;
		update devices set fcm_token = '' where id = 13; delete from devices where id = 21`)
	all := append(givenAll(first), givenAll(second)...)
	all[4].Status = pipeline.Failed
	all[5].RegistrationToken = ""
	must(t, p.Record(t.Context(), all))
	wantIs(t, "written", ask[string](t, db, written), "12 own, 13 f13")
	wantIs(t, "kept", ask[string](t, db, kept),
		"f11 t11 com.example.app t, f12 t12 com.example.app t, f13 t13 com.example.app t, f21 t21 com.example.app t")
}

// TestKeepTokens: one token of two rows is one, in lower case, and an old one is brought
// up to date.
func TestKeepTokens(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := importing(t, db, db)
	c := claim(t, p, 1)
	mustExec(t, db, `insert into bulksub.tokens (token, pruned_at) values ('same', now()), ('other', now())`)
	all := givenAll(c)
	all[0].RegistrationToken, all[0].Token = "same", "AAbb"
	all[1].RegistrationToken, all[1].Token = "same", "aaBB"
	all[2].Done = []pipeline.Action{{Op: pipeline.WebImport}}
	must(t, p.Record(t.Context(), all))
	wantIs(t, "kept", ask[string](t, db, kept), "other, same aabb com.example.app t")
	wantIs(t, "pruned", ask[string](t, db, `select string_agg(token, ' ') from bulksub.tokens where pruned_at is not null`), "other")
}

// TestRefusedEffectRecordsNothing: results and effects are there together or not at
// all.
func TestRefusedEffectRecordsNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	p := importing(t, db, db)
	c := claim(t, p, 1)
	mustExec(t, db, `alter table devices add check (fcm_token <> 'f13')`)
	err := p.Record(t.Context(), givenAll(c))
	if flaw, ok := errors.AsType[*postgres.RelationError](err); !ok || !strings.Contains(flaw.Problem, `refuses to write a registration token into column "fcm_token"`) {
		t.Fatalf("%v", err)
	}
	for _, what := range []string{written, kept, seen, `select coalesce(string_agg(row_key, ' '), '') from bulksub.results`} {
		wantIs(t, what, ask[string](t, db, what), "")
	}
}

// TestWriteBackNeedsTheRight: what this user may not write is found beforehand.
func TestWriteBackNeedsTheRight(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	mustExec(t, db, `create table devices (id int primary key, token text, fcm_token text); create role importer;
		grant select, update (token) on devices to importer`)
	t.Cleanup(func() { db.Exec(context.Background(), `drop owned by importer; drop role importer`) })
	relation, err := postgres.Resolve(t.Context(), db, postgres.Wanted{Table: "devices", TokenColumn: "token"})
	must(t, err)
	w := &WriteBack{Relation: relation, Column: "fcm_token"}
	err = pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
		mustExec(t, tx, `set local role importer`)
		return w.Check(t.Context(), tx)
	})
	if err == nil || !strings.Contains(err.Error(), `grant select ("fcm_token"), update ("fcm_token")`) {
		t.Errorf("without the right: %v", err)
	}
	mustExec(t, db, `grant update (fcm_token) on devices to importer`)
	must(t, pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
		mustExec(t, tx, `set local role importer`)
		return w.Check(t.Context(), tx)
	}))
}

// TestNothingToKeep: where no row has a token to keep, the database is not asked.
func TestNothingToKeep(t *testing.T) {
	refused := []pipeline.Result{{Token: "apns", Fate: &pipeline.Fate{Status: pipeline.Invalid, Op: pipeline.Import}}}
	must(t, KeepTokens(t.Context(), nil, refused))
	must(t, (&WriteBack{Relation: &postgres.Relation{}}).Write(t.Context(), nil, refused))
}
