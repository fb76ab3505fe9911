package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/pipeline"
)

// KeepTokens is an [Effect]: it puts the registration tokens that an import gave to
// rows that are ok into bulksub.tokens, with the APNs token, in lower case, and the
// app. One that is there already is brought up to date, and counts as pruned no more.
func KeepTokens(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error {
	var tokens, apnsTokens, apps []string
	var sandboxes []bool
	for i := range results {
		r := &results[i]
		if !imported(r) {
			continue
		}
		tokens = append(tokens, storable(r.RegistrationToken))
		apnsTokens = append(apnsTokens, storable(r.Token))
		apps = append(apps, storable(r.Done[0].Application))
		sandboxes = append(sandboxes, r.Done[0].Sandbox)
	}
	if len(tokens) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		insert into bulksub.tokens as t (token, apns_token, bundle_id, sandbox)
		select distinct on (token) token, lower(apns_token), bundle_id, sandbox
		from unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) as given (token, apns_token, bundle_id, sandbox)
		order by token
		on conflict (token) do update
		set apns_token = excluded.apns_token, bundle_id = excluded.bundle_id, sandbox = excluded.sandbox, pruned_at = null
		where (t.apns_token, t.bundle_id, t.sandbox, t.pruned_at)
			is distinct from (excluded.apns_token, excluded.bundle_id, excluded.sandbox, null::timestamptz)`,
		tokens, apnsTokens, apps, sandboxes)
	return err
}

// imported reports whether the row is ok, and its first action was an import.
func imported(r *pipeline.Result) bool {
	return r.Status == pipeline.OK && r.RegistrationToken != "" && len(r.Done) > 0 && r.Done[0].Op == pipeline.Import
}

// WriteBack writes the registration token that a row was given into the row, if the
// row is ok, still holds the token that was sent, and has nothing in that column yet:
// an app that has registered since knows better. Rows are found by their key, which
// wants an index.
type WriteBack struct {
	Relation *postgres.Relation
	Column   string
}

// usualToken is the length of the longest registration tokens that are often seen. Google states none.
const usualToken = 163

// Check reports a [*postgres.RelationError] if the column cannot be written by this
// user. It changes nothing.
func (w *WriteBack) Check(ctx context.Context, db postgres.Querier) error {
	r := w.Relation
	switch {
	case r.Kind != "table":
		return r.Flaw("only the rows of a table can be written to, and this is a %s", r.Kind)
	case w.Column == r.Token.Name, w.Column == r.Key.Name:
		return r.Flaw("the column %q tells the rows and their tokens apart; write the registration tokens into another one", w.Column)
	}
	var kind string
	var text, short, granted bool
	err := db.QueryRow(ctx, `
		select format_type(a.atttypid, a.atttypmod), t.typcategory = 'S' and a.attgenerated = '', a.atttypmod between 0 and $3 + 3, -- 4 more than the length
			has_column_privilege(a.attrelid, a.attnum, 'select') and has_column_privilege(a.attrelid, a.attnum, 'update')
		from pg_attribute a join pg_type t on t.oid = a.atttypid
		where a.attrelid = to_regclass($1) and a.attname = $2 and a.attnum > 0 and not a.attisdropped`, r.Name, w.Column, usualToken).Scan(&kind, &text, &short, &granted)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return r.Flaw("there is no column %q to write to; add one (alter table %s add column %s text) or name one with --write-column",
			w.Column, r.Name, postgres.Quote(w.Column))
	case err != nil:
		return r.Explain(err)
	case !text:
		return r.Flaw("the column %q is generated or of type %s; a registration token is text: name another column with --write-column", w.Column, kind)
	case short:
		return r.Flaw("the column %q is of type %s, and most registration tokens have up to %d characters; make it text", w.Column, kind, usualToken)
	case !granted:
		return r.Flaw("this user may not write its rows; grant select (%[1]s), update (%[1]s)", postgres.Quote(w.Column))
	}
	return nil
}

// Write is an [Effect]. It returns a [*postgres.RelationError] if the database refuses
// the new values.
func (w *WriteBack) Write(ctx context.Context, tx pgx.Tx, results []pipeline.Result) error {
	var keys, tokens, given []string
	for i := range results {
		if r := &results[i]; r.Status == pipeline.OK && r.RegistrationToken != "" {
			keys = append(keys, storable(r.Key))
			tokens = append(tokens, storable(r.Token))
			given = append(given, storable(r.RegistrationToken))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	r, column := w.Relation, postgres.Quote(w.Column)
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		update %s t set %s = given.registration_token
		from unnest($1::text[], $2::text[], $3::text[]) as given (row_key, token, registration_token)
		where %s = given.row_key::%s and %s::text collate "C" = given.token and coalesce(t.%s::text, '') = ''`,
		r.Name, column, r.Key.SQL(), r.Key.Type, r.Token.SQL(), column), keys, tokens, given)
	return w.explain(err)
}

func (w *WriteBack) explain(err error) error {
	problem := fmt.Sprintf("the database refuses to write a registration token into column %q", w.Column)
	switch code := postgres.Code(err); {
	case code == "" || postgres.Passes(err):
		return err
	case code == "23505":
		problem = fmt.Sprintf("two rows get the same registration token, and column %q may hold it only once; "+
			"two rows with one APNs token are one device: delete one of them, or allow it, and run again", w.Column)
	}
	return &postgres.RelationError{Relation: w.Relation.Label(), Problem: problem, Err: err}
}
