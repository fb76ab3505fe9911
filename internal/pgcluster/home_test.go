package pgcluster

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSweepTakesOnlyWhatNobodyHolds(t *testing.T) {
	base := t.TempDir()
	held := mustHome(t, base)
	defer held.remove()

	abandoned := mustHome(t, base)
	abandoned.lock.Close()

	young := mustMkdir(t, base, homePrefix+"young")
	old := mustMkdir(t, base, homePrefix+"old")
	past := time.Now().Add(-2 * unfinished)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	foreign := mustMkdir(t, base, "somebody-elses")
	link := filepath.Join(base, homePrefix+"link")
	if err := os.Symlink(foreign, link); err != nil {
		t.Fatal(err)
	}

	sweep(base)

	for path, want := range map[string]bool{
		held.dir: true, abandoned.dir: false, young: true, old: false, foreign: true, link: true,
	} {
		if got := exists(t, path); got != want {
			t.Errorf("after the sweep %s exists: %t, want %t", filepath.Base(path), got, want)
		}
	}
}

func mustHome(t *testing.T, base string) *home {
	t.Helper()
	h, err := newHome(base, owner{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustMkdir(t *testing.T, base, name string) string {
	t.Helper()
	dir := filepath.Join(base, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}
