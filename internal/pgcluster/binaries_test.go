package pgcluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// install puts programs that claim a version into a new directory.
func install(t *testing.T, version string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		script := "#!/bin/sh\necho '" + name + " (PostgreSQL) " + version + "'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPGBINDecides(t *testing.T) {
	for _, test := range []struct {
		name, dir, complaint string
	}{
		{"good", install(t, "17.2 (Homebrew)", "initdb", "postgres"), ""},
		{"a beta", install(t, "19beta1", "initdb", "postgres"), ""},
		{"too old", install(t, "12.22", "initdb", "postgres"), "it holds PostgreSQL 12"},
		{"only a client", install(t, "17.2", "psql"), "it holds no initdb"},
		{"no version", install(t, "", "initdb", "postgres"), "gives no version"},
		{"absent", filepath.Join(t.TempDir(), "absent"), "it holds no initdb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PGBIN", test.dir)
			dir, err := FindBinaries(t.Context())
			if test.complaint == "" {
				if dir != test.dir || err != nil {
					t.Errorf("got %q, %v; want %q", dir, err, test.dir)
				}
				return
			}
			if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), test.complaint) {
				t.Errorf("error %v, want ErrNotInstalled and %q", err, test.complaint)
			}
		})
	}
}

func TestNothingInstalled(t *testing.T) {
	hidden := versioned
	versioned = nil
	t.Cleanup(func() { versioned = hidden })
	t.Setenv("PGBIN", "")
	t.Setenv("PATH", install(t, "12.1", "initdb", "postgres"))

	_, err := Start(t.Context())
	if !errors.Is(err, ErrNotInstalled) {
		t.Fatalf("error %v, want ErrNotInstalled", err)
	}
	for _, advice := range []string{"apt-get install postgresql", "brew install postgresql@", "PGBIN"} {
		if !strings.Contains(err.Error(), advice) {
			t.Errorf("error %q does not name %q", err, advice)
		}
	}
}

func TestNewestFirst(t *testing.T) {
	base := t.TempDir()
	for _, version := range []string{"9.6", "13", "9", "17", "latest"} {
		if err := os.MkdirAll(filepath.Join(base, "pg@"+version, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var order []string
	for _, dir := range newestFirst(filepath.Join(base, "pg@*", "bin")) {
		order = append(order, strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), "pg@"))
	}
	if len(order) != 5 || order[0] != "17" || order[1] != "13" {
		t.Errorf("order %v, want 17 and 13 in front of the rest", order)
	}
}
