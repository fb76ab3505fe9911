package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Querier asks the database: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Relation is where tokens come from: a table, a view, or the rows of a query.
type Relation struct {
	Name  string // as SQL writes it, with its schema; "" for a query
	Kind  string // "query", or what pg_class says: "table", "view", "foreign table", "materialized view"
	From  string // what follows FROM; its alias is t
	Where string // a condition, or ""
	Key   Column
	Token Column
	// Further are the columns that were wanted besides, in that order.
	Further []Column
}

// Column is a column of a relation.
type Column struct {
	Name string
	Type string // as SQL writes it, to cast a text back
}

// SQL is the column's name as SQL writes it.
func (c Column) SQL() string { return "t." + Quote(c.Name) }

// RelationError is a relation that cannot be used as it is.
type RelationError struct {
	Relation string
	Problem  string // what is wrong, and what to do
	Err      error
}

func (e *RelationError) Error() string {
	if e.Err == nil {
		return e.Relation + ": " + e.Problem
	}
	return fmt.Sprintf("%s: %s: %v", e.Relation, e.Problem, e.Err)
}
func (e *RelationError) Unwrap() error { return e.Err }

// Wanted is what a user asked to read.
type Wanted struct {
	Table, Query, Where    string // Table or Query
	TokenColumn, KeyColumn string // KeyColumn "": the primary key, else the token
	Further                []string
	Keyless                bool // no key is needed: the rows are read all at once
}

// Resolve finds the relation in the database and checks that it can be read row
// by row: it exists, the columns exist, the key has neither nulls nor
// duplicates, and this user may read it. It returns a [*RelationError] if not.
func Resolve(ctx context.Context, db Querier, w Wanted) (*Relation, error) {
	r, columns, err := find(ctx, db, w)
	if err != nil {
		return nil, err
	}
	if where := trimStatement(w.Where); where != "" {
		if err := r.filter(ctx, db, where); err != nil {
			return nil, err
		}
	}
	if r.Token, err = columns.pick(w.TokenColumn, " with --token-column"); err != nil {
		return nil, err
	}
	if r.Token.Type == "bytea" {
		return nil, r.Flaw("the column %q holds bytes, not text; read it with --query and encode(…) or convert_from(…)", r.Token.Name)
	}
	for _, name := range w.Further {
		column, err := columns.pick(name, "")
		if err != nil {
			return nil, err
		}
		r.Further = append(r.Further, column)
	}
	if w.Keyless {
		return r, r.readable(ctx, db, r.Token)
	}
	if r.Key, err = columns.key(w.KeyColumn, r.Token); err != nil {
		return nil, err
	}
	if err := r.readable(ctx, db, r.Key); err != nil {
		return nil, err
	}
	if !columns.unique(r.Key.Name) {
		err = r.checkKey(ctx, db)
	}
	return r, err
}

// filter leaves the rows for which the condition holds. It must be one wherever a condition may stand: what closes the
// parenthesis before it and goes on as a query ("true) union all … where (true") would bring rows with keys that no index
// of the relation holds apart.
func (r *Relation) filter(ctx context.Context, db Querier, where string) error {
	filtered := r.From + " where (" + where + "\n)"
	for _, sql := range []string{"select * from " + filtered, "select case when (" + where + "\n) then 1 end from " + r.From} {
		if err := ask(ctx, db, sql+" limit 0"); err != nil {
			return r.Explain(err)
		}
	}
	r.From = "(select * from " + filtered + ") as t"
	return nil
}

// trimStatement takes off what may end a statement and not an expression.
func trimStatement(sql string) string { return strings.Trim(sql, "; \t\r\n") }

func find(ctx context.Context, db Querier, w Wanted) (*Relation, *columns, error) {
	if w.Query != "" {
		return describeQuery(ctx, db, w.Query)
	}
	return describeTable(ctx, db, w.Table)
}

// readable asks for no rows of the columns in the order of one: whatever the database has
// against reading, it says now.
func (r *Relation) readable(ctx context.Context, db Querier, by Column) error {
	columns := []string{by.SQL(), r.Token.SQL()}
	for _, c := range r.Further {
		columns = append(columns, c.SQL())
	}
	sql := r.Select(strings.Join(columns, ", "), "")
	if err := ask(ctx, db, sql+" limit 0"); err != nil {
		return r.Explain(err)
	}
	err := ask(ctx, db, sql+" order by 1 limit 0")
	if Code(err) == "42883" {
		return r.Flaw("the key column %q cannot be ordered, it is of type %s; name another with --key-column", by.Name, by.Type)
	}
	return r.Explain(err)
}

// asWritten lets the server and not the driver judge what a user wrote, as one
// statement whatever the database URL says.
const asWritten = pgx.QueryExecModeExec

// ask runs one statement, and refuses to run two: Exec would not.
func ask(ctx context.Context, db Querier, sql string) error {
	rows, _ := db.Query(ctx, sql, asWritten)
	rows.Close()
	return rows.Err()
}

// Select is a SELECT of the relation's rows for which the condition (or "")
// holds as well as its own.
func (r *Relation) Select(what, condition string) string {
	sql := "select " + what + " from " + r.From
	conditions := slices.DeleteFunc([]string{r.Where, condition}, func(c string) bool { return c == "" })
	if len(conditions) > 0 {
		sql += " where " + strings.Join(conditions, " and ")
	}
	return sql
}

// checkKey looks for nulls and duplicates where no index forbids them.
func (r *Relation) checkKey(ctx context.Context, db Querier) error {
	var null bool
	sql := "select k is null from (" + r.Select(r.Key.SQL()+" as k", "") + ") as keys group by k having k is null or count(*) > 1 order by 1 desc limit 1"
	err := db.QueryRow(ctx, sql).Scan(&null)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return r.Explain(err)
	case null:
		return r.Flaw("the key column %q has nulls; name a column without them with --key-column, or leave those rows out with --where", r.Key.Name)
	}
	return r.Flaw("the key column %q is not unique: several rows share a value; name a unique column with --key-column", r.Key.Name)
}

// Flaw is a [*RelationError] that says what is wrong with the relation.
func (r *Relation) Flaw(format string, args ...any) error {
	return &RelationError{Relation: r.Label(), Problem: fmt.Sprintf(format, args...)}
}

// Label is what errors call the relation.
func (r *Relation) Label() string {
	if r.Name == "" {
		return "--query"
	}
	return "table " + r.Name
}

// Explain turns what the database says of the relation into a [*RelationError].
// Other errors are returned as they are.
func (r *Relation) Explain(err error) error {
	problem := ""
	switch code := Code(err); {
	case code == "":
		return err
	case quotesValue(err):
		problem, err = "a value in it is not what the query takes it for", &hushedError{err}
	case wantsParameter(err):
		problem = "a parameter such as $1 has no value here; write the value itself"
	case code == "42501":
		problem = "this user may not read it; grant select on it, and usage on its schema"
	case code == "42P01":
		problem = "a table is not there"
	case code == "42703":
		problem = "a column is not there"
	case code == "42883":
		problem = "a function or an operator is not there"
	case Passes(err):
		return err
	default:
		problem = "the database refuses to read it"
	}
	return &RelationError{Relation: r.Label(), Problem: problem, Err: err}
}

// quotesValue reports whether the database repeats a value that it cannot use
// (PostgreSQL documentation, appendix A, class 22), which may be a token.
func quotesValue(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(answer.Code, "22") && strings.Contains(answer.Message, `"`)
}

// hushedError is an error of the database of which the code alone is shown (P8).
type hushedError struct{ err error }

func (e *hushedError) Error() string { return "SQLSTATE " + Code(e.err) }
func (e *hushedError) Unwrap() error { return e.err }

// wantsParameter reports whether the statement has a parameter without a value.
// The same code with another severity is a pooler's trouble with its server.
func wantsParameter(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (answer.Code == "42P02" || answer.Code == "08P01" && answer.SeverityUnlocalized == "ERROR")
}

// And leaves out the rows for which the condition does not hold.
func (r *Relation) And(condition string) {
	if r.Where != "" {
		condition = r.Where + " and " + condition
	}
	r.Where = condition
}
