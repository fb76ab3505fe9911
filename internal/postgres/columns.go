package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// columns is what the database tells of a relation's columns.
type columns struct {
	relation *Relation
	all      []column
	primary  []string // the columns of the primary key
}

type column struct {
	Name, Type string
	NotNull    bool
	Unique     bool // alone, by an index that covers every row
}

// pick finds a column by the name that a user gave: as it is, or as SQL would
// read it. flag tells how to name another, or nothing.
func (c *columns) pick(name, flag string) (Column, error) {
	candidates := []string{name}
	if parts, err := ParseName(name); err == nil && len(parts) == 1 {
		candidates = append(candidates, parts[0])
	}
	for _, candidate := range candidates {
		for _, col := range c.all {
			if col.Name == candidate {
				return Column{Name: col.Name, Type: col.Type}, nil
			}
		}
	}
	names := make([]string, len(c.all))
	for i, col := range c.all {
		names[i] = col.Name
	}
	return Column{}, c.relation.Flaw("there is no column %q; it has %s. Name one%s", name, strings.Join(names, ", "), flag)
}

// key picks the key column: the one named, else the primary key, else the token.
func (c *columns) key(named string, token Column) (Column, error) {
	if named == "" && len(c.primary) == 1 {
		named = c.primary[0]
	}
	if named == "" {
		return token, nil
	}
	return c.pick(named, " with --key-column")
}

func (c *columns) unique(name string) bool {
	return slices.ContainsFunc(c.all, func(col column) bool { return col.Name == name && col.NotNull && col.Unique })
}

// describeTable finds a table by the name that a user gave. Capitals and dots
// may stand without quotes, as long as only one table is meant.
func describeTable(ctx context.Context, db Querier, name string) (*Relation, *columns, error) {
	asked := &Relation{Name: name}
	names, err := tableNames(name)
	if err != nil {
		return nil, nil, asked.Flaw("%v", err)
	}
	var found []table
	for _, n := range names {
		t, err := findTable(ctx, db, n)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
		case err != nil:
			return nil, nil, asked.Explain(err)
		case !slices.Contains(found, t):
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil, asked.Flaw("there is no such table in this database; write its schema too if it is not on the search path")
	case 1:
		r := found[0].relation()
		c, err := tableColumns(ctx, db, r, found[0].oid)
		return r, c, err
	}
	return nil, nil, asked.Flaw("this may be %s or %s; write the one that is meant with double quotes", found[0].sql(), found[1].sql())
}

type table struct {
	oid                uint32
	schema, name, kind string
}

func (t table) sql() string { return Quote(t.schema, t.name) }

func (t table) relation() *Relation {
	return &Relation{Name: t.sql(), Kind: kinds[t.kind], From: t.sql() + " as t"}
}

// findTable returns [pgx.ErrNoRows] if there is no such table, also where the
// name has more parts than a table's can have.
func findTable(ctx context.Context, db Querier, name []string) (t table, err error) {
	err = db.QueryRow(ctx, `
		select c.oid, n.nspname, c.relname, c.relkind::text
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.oid = to_regclass($1) and c.relkind in ('r', 'p', 'f', 'v', 'm')`, Quote(name...)).Scan(&t.oid, &t.schema, &t.name, &t.kind)
	if code := Code(err); code == "0A000" || code == "42601" {
		err = pgx.ErrNoRows
	}
	return t, err
}

var kinds = map[string]string{"r": "table", "p": "table", "f": "foreign table", "v": "view", "m": "materialized view"}

// tableNames lists what a name may mean: with its capitals kept, as SQL reads
// it, and as one name with dots in it.
func tableNames(name string) ([][]string, error) {
	parsed, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	if strings.Contains(name, `"`) {
		return [][]string{parsed}, nil
	}
	return [][]string{strings.Split(name, "."), parsed, {name}}, nil
}

func tableColumns(ctx context.Context, db Querier, r *Relation, oid uint32) (*columns, error) {
	rows, _ := db.Query(ctx, `
		select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			exists (select from pg_index i where i.indrelid = a.attrelid and i.indisunique and i.indisvalid
				and i.indpred is null and i.indnkeyatts = 1 and i.indkey[0] = a.attnum)
				and (c.relkind = 'p' or not c.relhassubclass)
		from pg_attribute a join pg_class c on c.oid = a.attrelid
		where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum`, oid)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		return nil, r.Explain(err)
	}
	rows, _ = db.Query(ctx, `
		select a.attname::text from pg_index i
		join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])
		where i.indrelid = $1 and i.indisprimary`, oid)
	primary, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, r.Explain(err)
	}
	return &columns{relation: r, all: all, primary: primary}, nil
}

// describeQuery asks the database what a query's columns are, without running
// it.
func describeQuery(ctx context.Context, db Querier, query string) (*Relation, *columns, error) {
	r := &Relation{Kind: "query", From: "(" + trimStatement(query) + "\n) as t"}
	rows, err := db.Query(ctx, "select * from "+r.From+" limit 0", asWritten)
	if err != nil {
		return nil, nil, r.Explain(err)
	}
	fields := slices.Clone(rows.FieldDescriptions())
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, nil, r.Explain(err)
	}
	c := &columns{relation: r}
	for _, f := range fields {
		var name string
		if err := db.QueryRow(ctx, "select format_type($1, $2)", f.DataTypeOID, f.TypeModifier).Scan(&name); err != nil {
			return nil, nil, fmt.Errorf("the type of column %q: %w", f.Name, err)
		}
		c.all = append(c.all, column{Name: f.Name, Type: name})
	}
	return r, c, nil
}
