// Package pgcluster runs a throw-away PostgreSQL server from the binaries installed on this machine: for the tests, and
// for `bulksub demo --postgres`.
//
// A cluster lives in a directory of its own below /tmp and listens on a unix socket in that directory alone, so any
// number of them run side by side and none is reachable from the network. Anyone who can open the socket is its
// superuser. It ends with the process that started it: by [Cluster.Stop]; on Linux also when the process is killed; on
// other systems the next Start removes the directory, upon which PostgreSQL stops by itself within a minute.
//
// Not promised: that data survives a power cut (fsync is off unless a setting turns it on), or that it survives Stop.
package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
)

// Superuser is the role that [Cluster.URL] connects as.
const Superuser = "postgres"

// port only names the socket file: nothing listens on TCP.
const port = "5432"

// ErrStopped is returned by [Cluster.Restart] after [Cluster.Stop].
var ErrStopped = errors.New("the throw-away PostgreSQL was stopped and its data removed: start a new one")

// Cluster is a running server. Its methods may be called from any goroutine.
type Cluster struct {
	home     *home
	bin      string
	owner    owner
	settings []string

	mu      sync.Mutex
	server  *server // nil while stopped
	removed bool
}

// Start makes a new cluster and returns when it accepts connections, which takes about half a second. ctx bounds the
// start only. Each setting is "name=value" as in postgresql.conf; it overrides the defaults, which favour speed
// ("fsync=on", "full_page_writes=on" give a server that behaves like a real one under load).
//
// The error is [ErrNotInstalled] when there is nothing to run. The caller must call Stop.
func Start(ctx context.Context, settings ...string) (*Cluster, error) {
	bin, err := FindBinaries(ctx)
	if err != nil {
		return nil, err
	}
	sweep(baseDir)
	who, err := serverOwner()
	if err != nil {
		return nil, err
	}
	dir, err := newHome(baseDir, who)
	if err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	c := &Cluster{home: dir, bin: bin, owner: who, settings: settings}
	if err := c.initialize(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) initialize(ctx context.Context) error {
	initdb := c.command(ctx, "initdb", "-D", c.home.data(), "-U", Superuser, "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w\n%s", c.home.dir, err, out)
	}
	return c.Restart(ctx)
}

// URL is the address of a database of this cluster, for pgx and psql alike. It stays the same over restarts.
func (c *Cluster) URL(database string) string {
	// The port is named because PGPORT would otherwise name the socket.
	return fmt.Sprintf("postgres:///%s?host=%s&port=%s&user=%s",
		url.PathEscape(database), c.home.data(), port, Superuser)
}

// Stop ends the server, removes its data and returns when both are done. Calling it again does nothing. What cannot be
// removed is left to the next Start.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return
	}
	c.stopServer()
	c.home.remove()
	c.removed = true
}

// StopImmediate ends the server as a crash would: sessions are cut, nothing is flushed, and the next start recovers from
// the log. Committed data stays. It returns when the server is gone; [Cluster.Restart] brings it back.
func (c *Cluster) StopImmediate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopServer()
}

// Restart starts the server on its existing data and returns when it accepts connections. A running one is first ended
// as by StopImmediate.
func (c *Cluster) Restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return ErrStopped
	}
	c.stopServer()
	running, err := c.startServer(ctx)
	if err != nil {
		return err
	}
	c.server = running
	return nil
}

func (c *Cluster) stopServer() {
	if c.server != nil {
		c.server.stop()
		c.server = nil
	}
}

// environment is all that the server sees of ours: PG* variables and a foreign HOME would only disturb it.
func (c *Cluster) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.home.data(), "LC_ALL=C", "TZ=UTC"}
}

func (c *Cluster) logFile() string { return filepath.Join(c.home.dir, "postgres.log") }
