package sink

import (
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestStatement(t *testing.T) {
	t.Parallel()
	s := named(`select @b, @a_c::text[] where @b`)
	if s.sql != `select $1, $2::text[] where $1` {
		t.Errorf("it becomes %s", s.sql)
	}
	if got := s.with(pgx.NamedArgs{"a_c": 1, "b": nil}); !reflect.DeepEqual(got, []any{nil, 1}) {
		t.Errorf("the values are %v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a parameter without a value is taken for null")
		}
	}()
	s.with(pgx.NamedArgs{"a_c": 1})
}
