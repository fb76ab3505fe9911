// Package migrations holds the ledger's schema as numbered SQL files and applies them.
//
// Everything lives in the schema bulksub of the database that the user names, the table of applied versions included
// (bulksub.schema_version). Any number of processes may call [Migrate] at once: one applies, the others wait for it.
// [Status] and [Check] only read; a run calls Check and never migrates by itself.
//
// There is no way down. A ledger is the proof of what was done to live devices and is not dropped by a tool; whoever
// wants it gone says so in their own words: drop schema bulksub cascade.
//
// Not promised: migrating through a pooler in transaction mode. The lock belongs to a session, so a direct connection
// is needed; a run itself does not need one.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed *.sql
var files embed.FS

// Migration is one numbered step of the schema.
type Migration struct {
	Version int64
	// Name is the file's name without its ending, such as 00001_ledger.
	Name string
	// AppliedAt is when the database was brought to this version, by its own clock; zero while it is pending.
	AppliedAt time.Time
}

// Pending says that the database has not reached this migration yet.
func (m Migration) Pending() bool { return m.AppliedAt.IsZero() }

// known lists the migrations in fsys by rising version, all of them pending.
func known(fsys fs.FS) ([]Migration, error) {
	names, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var all []Migration
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("name of migration %s: %w", name, err)
		}
		all = append(all, Migration{Version: version, Name: strings.TrimSuffix(name, ".sql")})
	}
	slices.SortFunc(all, func(a, b Migration) int { return int(a.Version - b.Version) })
	return all, nil
}
