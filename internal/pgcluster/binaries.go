package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MinVersion is the oldest PostgreSQL that is accepted.
const MinVersion = 13

// ErrNotInstalled says that this machine has no usable PostgreSQL server, and how to get one.
var ErrNotInstalled = fmt.Errorf("no PostgreSQL server of version %d or newer found on this machine: install it "+
	"(Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17) "+
	"or set PGBIN to the directory that holds initdb and postgres", MinVersion)

// programs are what a directory must hold; Debian's client packages bring neither.
var programs = []string{"initdb", "postgres"}

// versioned are directories with a version in their path, of which the newest is taken: Debian, PGDG's RPMs, Homebrew on
// its three prefixes, Postgres.app.
var versioned = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// FindBinaries returns the directory of the PostgreSQL server programs. PGBIN decides if it is set; otherwise the first
// usable of: pg_config --bindir, the newest of the usual installation directories, PATH. The error wraps
// [ErrNotInstalled].
func FindBinaries(ctx context.Context) (string, error) {
	if dir := os.Getenv("PGBIN"); dir != "" {
		if err := usable(ctx, dir); err != nil {
			return "", fmt.Errorf("PGBIN=%s: %w: %w", dir, err, ErrNotInstalled)
		}
		return dir, nil
	}
	for dir := range candidates(ctx) {
		if usable(ctx, dir) == nil {
			return dir, nil
		}
	}
	return "", ErrNotInstalled
}

func candidates(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
			if !yield(strings.TrimSpace(string(out))) {
				return
			}
		}
		for _, pattern := range versioned {
			for _, dir := range newestFirst(pattern) {
				if !yield(dir) {
					return
				}
			}
		}
		if program, err := exec.LookPath("initdb"); err == nil {
			yield(filepath.Dir(program))
		}
	}
}

// newestFirst expands a pattern that has a version in it.
func newestFirst(pattern string) []string {
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	slices.SortFunc(dirs, func(a, b string) int { return lastNumber(b) - lastNumber(a) })
	return dirs
}

var digits = regexp.MustCompile(`\d+`)

// lastNumber is the major version in a path: 17 in postgresql@17/bin. A path without one sorts last.
func lastNumber(path string) int {
	all := digits.FindAllString(path, -1)
	if len(all) == 0 {
		return -1
	}
	n, err := strconv.Atoi(all[len(all)-1])
	if err != nil {
		return -1
	}
	return n
}

// usable says why the programs in dir cannot be used.
func usable(ctx context.Context, dir string) error {
	for _, program := range programs {
		if _, err := exec.LookPath(filepath.Join(dir, program)); err != nil {
			return fmt.Errorf("it holds no %s", program)
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return fmt.Errorf("ask postgres for its version: %w", err)
	}
	major, err := majorVersion(string(out))
	if err != nil {
		return err
	}
	if major < MinVersion {
		return fmt.Errorf("it holds PostgreSQL %d", major)
	}
	return nil
}

// majorVersion reads the answer to --version, such as "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)".
func majorVersion(answer string) (int, error) {
	_, version, _ := strings.Cut(answer, "(PostgreSQL) ")
	major, err := strconv.Atoi(digits.FindString(version))
	if err != nil {
		return 0, errors.New("postgres gives no version: " + strings.TrimSpace(answer))
	}
	return major, nil
}
