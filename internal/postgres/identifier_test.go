package postgres

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestParseNameRefuses(t *testing.T) {
	for name, want := range map[string]string{
		``:      `the name "" has an empty part`,
		`a.`:    `the name "a." has an empty part`,
		`.a`:    `the name ".a" has an empty part`,
		`a..b`:  `the name "a..b" has an empty part`,
		`""`:    `the name "\"\"" has an empty part`,
		`"".a`:  `the name "\"\".a" has an empty part`,
		`"a`:    `the name "\"a" has a quote that is not closed`,
		`"""`:   `the name "\"\"\"" has a quote that is not closed`,
		`"a"b`:  `the name "\"a\"b" goes on after a closing quote`,
		`"a" .`: `the name "\"a\" ." goes on after a closing quote`,
	} {
		if parts, err := ParseName(name); err == nil || err.Error() != want {
			t.Errorf("ParseName(%s) = %q, %v; want %s", name, parts, err, want)
		}
	}
}

// PostgreSQL's own parser is the judge of what a name means.
func TestParseNameIsPostgres(t *testing.T) {
	pool := database(t)
	for _, name := range []string{
		`tokens`, `Tokens`, `public.Tokens`, `"Tokens"`, `"My.Schema"."Us""ers"`, `a."B".c`, `ÄPFEL`, `straße.Ω`, `"ÄPFEL"`, `  tokens  `, `"."`, `""""`,
	} {
		var want []string
		if err := pool.QueryRow(t.Context(), "select parse_ident($1)", name).Scan(&want); err != nil {
			t.Fatal(err)
		}
		if got, err := ParseName(name); err != nil || !slices.Equal(got, want) {
			t.Errorf("ParseName(%s) = %q, %v; PostgreSQL reads %q", name, got, err, want)
		}
	}
}

func TestQuoteIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringN(1, 40, -1).Filter(func(s string) bool { return !strings.Contains(s, "\x00") })
		parts := rapid.SliceOfN(part, 1, 3).Draw(t, "parts")
		if got, err := ParseName(Quote(parts...)); err != nil || !slices.Equal(got, parts) {
			t.Fatalf("ParseName(%s) = %q, %v", Quote(parts...), got, err)
		}
	})
}

func TestLiteralIsReadBack(t *testing.T) {
	pool := database(t)
	for _, text := range []string{"", "a", "it's", "''", `\'`, "\n", `"x"`, "é%"} {
		var got string
		if err := pool.QueryRow(t.Context(), "select "+Literal(text)).Scan(&got); err != nil || got != text {
			t.Errorf("%q is read as %q, %v", text, got, err)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{`a.b`, `"a"."b"`, `"a""b".C`, `"`, `.`, ` a `} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		parts, err := ParseName(name)
		if err != nil || !utf8.ValidString(name) || strings.Contains(name, "\x00") {
			return
		}
		if again, err := ParseName(Quote(parts...)); err != nil || !slices.Equal(again, parts) {
			t.Errorf("%q means %q, and its quoted form %q, %v", name, parts, again, err)
		}
	})
}
