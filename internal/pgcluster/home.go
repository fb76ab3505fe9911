package pgcluster

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

const (
	// baseDir is fixed: os.TempDir may be longer than a socket's path may be, or closed to the server's owner.
	baseDir = "/tmp"

	homePrefix = "bulksub-pg-"

	// unfinished is how long a directory may stand without a lock before it counts as left over.
	unfinished = time.Minute
)

// home is a cluster's directory. Ours is the directory itself with the log and the lock; data below it belongs to the
// server's owner. The lock is held for as long as this process lives, so that a directory whose lock is free is garbage.
type home struct {
	dir  string
	lock *os.File
}

func newHome(base string, who owner) (*home, error) {
	dir, err := os.MkdirTemp(base, homePrefix)
	if err != nil {
		return nil, err
	}
	h := &home{dir: dir}
	if err := h.furnish(who); err != nil {
		h.remove()
		return nil, err
	}
	return h, nil
}

func (h *home) furnish(who owner) (err error) {
	// The server's owner passes through on its way to data, and reads nothing here.
	err = errors.Join(os.Chmod(h.dir, 0o711), os.Mkdir(h.data(), 0o700), who.own(h.data()))
	if err != nil {
		return err
	}
	// A lock is published only once it is held: a sweep must never find it free before.
	draft := h.lockFile() + ".new"
	if h.lock, err = tryLock(draft); err != nil {
		return err
	}
	return os.Rename(draft, h.lockFile())
}

func (h *home) data() string     { return filepath.Join(h.dir, "data") }
func (h *home) lockFile() string { return filepath.Join(h.dir, "lock") }

// remove deletes the directory, then lets go of its lock.
func (h *home) remove() {
	os.RemoveAll(h.dir)
	if h.lock != nil {
		h.lock.Close()
	}
}

// sweep removes what killed processes of this user have left in base. A server that still runs there notices within a
// minute that its files are gone, and ends.
func sweep(base string) {
	dirs, err := filepath.Glob(filepath.Join(base, homePrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() && isOurs(info) {
			sweepOne(&home{dir: dir}, info.ModTime())
		}
	}
}

func sweepOne(h *home, modified time.Time) {
	if _, err := os.Lstat(h.lockFile()); errors.Is(err, os.ErrNotExist) {
		if time.Since(modified) > unfinished {
			h.remove()
		}
		return
	}
	lock, err := tryLock(h.lockFile())
	if err != nil {
		return
	}
	h.lock = lock
	h.remove()
}
