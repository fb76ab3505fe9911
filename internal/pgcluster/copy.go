package pgcluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Copy starts another cluster with the data of this one as it is now, as a standby is that has been promoted: what is
// committed here from now on is not there. The caller must call Stop on it as well.
func (c *Cluster) Copy(ctx context.Context) (*Cluster, error) { return c.backup(ctx) }

// Standby starts another cluster that follows this one, and can only be read. The caller must call Stop on it as well.
func (c *Cluster) Standby(ctx context.Context) (*Cluster, error) {
	return c.backup(ctx, "--write-recovery-conf")
}

func (c *Cluster) backup(ctx context.Context, options ...string) (*Cluster, error) {
	dir, err := newHome(baseDir, c.owner)
	if err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	other := &Cluster{home: dir, bin: c.bin, owner: c.owner, settings: c.settings}
	args := append([]string{"-D", other.home.data(), "-d", c.URL("postgres"), "-c", "fast", "-X", "stream", "--no-sync"}, options...)
	backup := other.command(ctx, "pg_basebackup", args...)
	if out, err := backup.CombinedOutput(); err != nil {
		other.Stop()
		return nil, fmt.Errorf("copy the cluster in %s: %w\n%s", c.home.dir, err, out)
	}
	// The server takes the files of a foreign socket for a server's that runs.
	for _, file := range []string{".s.PGSQL." + port, ".s.PGSQL." + port + ".lock"} {
		os.Remove(filepath.Join(other.home.data(), file))
	}
	if err := other.Restart(ctx); err != nil {
		other.Stop()
		return nil, err
	}
	return other, nil
}
