package sink

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/internal/postgres"
)

// Rights are what a user must be allowed to do: for each table of schema bulksub, the
// words of SQL, with spaces between them.
type Rights map[string]string

// LedgerRights are those of every job.
func LedgerRights() Rights {
	return Rights{
		"schema_version": "select", "jobs": "select insert update", "segments": "select insert update", "records": "select insert delete", "rows": "select",
		"budgets": "select insert update", "pruned": "select", "synced": "select",
	}
}

// Prune adds those of a job that prunes.
func (r Rights) Prune() { r["pruned"] = "select insert" }

// Import adds those of a job that keeps the tokens it is given.
func (r Rights) Import() { r["tokens"] = "select insert update" }

// Sync adds those of a job that computes a difference.
func (r Rights) Sync() {
	r["synced"] = "select insert"
	r["plans"] = "select insert update"
	r["planned"] = "select insert delete"
	r["subscriptions"] = believing
}

const (
	// believing is what a job does that changes topics under sync.
	believing = "select insert update delete"
	// forgetting is what any other does there: a token may be gone.
	forgetting = "select update delete"
)

// RightsError is a user who may not do what a job does.
type RightsError struct{ Missing []string } // what to grant, as SQL

func (e *RightsError) Error() string {
	return "this user may not do in schema bulksub what the job does: " + strings.Join(e.Missing, "; ")
}

// CheckRights reports a [*RightsError] if the user lacks any of the rights, as far as the tables are
// there. changes says that the job changes topics: if any is under sync, that takes more.
func CheckRights(ctx context.Context, db postgres.Querier, r Rights, changes bool) error {
	var there, usage bool
	err := db.QueryRow(ctx, `
		select exists (select from pg_class where relnamespace = to_regnamespace('bulksub') and relname = 'synced'),
			coalesce(has_schema_privilege(to_regnamespace('bulksub'), 'usage'), true)`).Scan(&there, &usage)
	if err != nil {
		return fmt.Errorf("look for this user's rights: %w", err)
	}
	if !usage {
		return &RightsError{Missing: []string{"grant usage on schema bulksub"}}
	}
	missing, err := r.missing(ctx, db)
	if err == nil && len(missing) == 0 && there {
		missing, err = beliefRights(ctx, db, changes)
	}
	switch {
	case err != nil:
		return fmt.Errorf("look for this user's rights: %w", err)
	case len(missing) > 0:
		return &RightsError{Missing: missing}
	}
	return nil
}

// beliefRights lists what is missing to keep the beliefs true, if there are any.
func beliefRights(ctx context.Context, db postgres.Querier, changes bool) ([]string, error) {
	var some bool
	if err := db.QueryRow(ctx, `select exists (select from bulksub.synced)`).Scan(&some); err != nil || !some {
		return nil, err
	}
	needed := forgetting
	if changes {
		needed = believing
	}
	return Rights{"subscriptions": needed}.missing(ctx, db)
}

// missing lists the rights that this user lacks.
func (r Rights) missing(ctx context.Context, db postgres.Querier) ([]string, error) {
	var tables, needs []string
	for table, words := range r {
		tables, needs = append(tables, table), append(needs, words)
	}
	rows, _ := db.Query(ctx, `
		select format('grant %s on bulksub.%s', string_agg(need, ', ' order by array_position('{select,insert,update,delete}', need)), name)
		from unnest($1::text[], $2::text[]) as needed (name, needs), pg_class c, unnest(string_to_array(needs, ' ')) as need
		where c.relnamespace = to_regnamespace('bulksub') and c.relname = name and not has_table_privilege(c.oid, need)
		group by name order by name`, tables, needs)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
