package faults

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// hostile are names of tables and columns that Postgres takes and that a program might not quote.
var hostile = []string{
	`users"; drop table victims; --`, `users'; drop table victims; --`, `a.b`, `Ünïcode`, `$1`, `%s%d`, `back\slash`, "two\nlines", `/*`,
	strings.Repeat("x", 63),
}

// drawn are names of characters that mean something to SQL or to the program, from a seed.
func drawn(seed uint64, n int) (names []string) {
	random := rand.New(rand.NewPCG(seed, 1))
	alphabet := []rune("\"'`;:.,()[]{}$%\\/*-+=~ \t\n\rxXéß_0 １")
	for range n {
		name := make([]rune, 1+random.IntN(12))
		for i := range name {
			name[i] = alphabet[random.IntN(len(alphabet))]
		}
		names = append(names, string(name))
	}
	return names
}

// log is what the server says it has done for the program, by the tags of its statements.
type log struct {
	mu   sync.Mutex
	tags map[string]int
}

func (l *log) note(m message) fate {
	if !m.client && m.kind == 'C' {
		tag, _, _ := bytes.Cut(bytes.TrimRight(m.body, "\x00"), []byte(" "))
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tags[string(tag)]++
	}
	return pass
}

// TestHostileNames: tables and columns may be called as they like, also at random (-seed draws others); what the server was told to do is what a job does, and
// nothing else.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := newScene(t, iidtest.Mix{Dead: 0.1})
	s.exec(`create table victims as table users`)
	said := &log{tags: make(map[string]int)}
	s.proxy.obey(said.note)
	quote := func(name string) string { return pgx.Identifier{name}.Sanitize() }
	for i, name := range slices.Concat(hostile, drawn(*firstSeed, 8)) {
		key, mark := "k"+name, "m"+name
		if len(name) > 60 {
			key, mark = name[:62]+"k", name[:62]+"m"
		}
		s.exec(fmt.Sprintf(`create table %[1]s (%[2]s text primary key, %[1]s text, %[3]s timestamptz);
			insert into %[1]s select id::text || $q$%[4]s$q$, token from victims limit 50`, quote(name), quote(key), quote(mark), name))
		code, last := s.Run("subscribe", "--topic", "news", "--table", quote(name), "--token-column", name, "--key-column", key, "--prune", "mark", "--prune-column", mark,
			"--where", quote(name)+" is not null", "--prune-max", "100%", "--job", fmt.Sprintf("%d %.20q", i, name))
		if code != 0 || last.Rows != 50 || last.Pruned != last.NotFound {
			t.Errorf("%q: ended with %d: %+v %s", name, code, last, last.Words)
		}
	}
	for tag := range said.tags {
		if !slices.Contains([]string{"BEGIN", "COMMIT", "ROLLBACK", "SELECT", "INSERT", "UPDATE", "DELETE", "COPY", "EXPLAIN", "SET"}, tag) {
			t.Errorf("the server was told to %s", tag)
		}
	}
	reached(t, "statements were seen", said.tags["SELECT"], 100)
	if content(t, s.db, "victims") != content(t, s.db, "users") {
		t.Error("another table has changed")
	}
}
