package sink

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// statement is SQL whose parameters have names, like @token. [pgx.NamedArgs] looks for the names at each
// call, which takes a tenth of the time of an announcement; here they are looked for once.
type statement struct {
	sql   string   // with $1 and so on
	names []string // of $1 and so on
}

// parameter matches the name of a parameter. The SQL has no other @.
var parameter = regexp.MustCompile(`@[a-z_]+`)

func named(sql string) statement {
	var s statement
	s.sql = parameter.ReplaceAllStringFunc(sql, func(name string) string {
		at := slices.Index(s.names, name[1:])
		if at < 0 {
			at = len(s.names)
			s.names = append(s.names, name[1:])
		}
		return "$" + strconv.Itoa(at+1)
	})
	return s
}

// with lists the values in the order of the parameters. It panics if a parameter has no value.
func (s statement) with(values pgx.NamedArgs) []any {
	list := make([]any, len(s.names))
	for i, name := range s.names {
		value, ok := values[name]
		if !ok {
			panic("no value for @" + name)
		}
		list[i] = value
	}
	return list
}

func (s statement) queue(batch *pgx.Batch, values pgx.NamedArgs) *pgx.QueuedQuery {
	return batch.Queue(s.sql, s.with(values)...)
}
