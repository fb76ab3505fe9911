package pgcluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const readyPoll = 10 * time.Millisecond

// logTail is how much of the server's log an error carries.
const logTail = 2000

// server is one life of the postgres process.
type server struct {
	process *os.Process
	exited  chan struct{} // closed when the process is gone
}

// stop ends the process by immediate shutdown and waits for it. With data that is thrown away, or that is to look like
// after a crash, there is nothing a slower shutdown would be good for.
func (s *server) stop() {
	s.process.Signal(syscall.SIGQUIT)
	<-s.exited
}

// command prepares one of the PostgreSQL programs, run as the server's owner. ctx ends it.
func (c *Cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir = c.home.data()
	cmd.Env = c.environment()
	cmd.SysProcAttr = processAttributes(c.owner)
	return cmd
}

func (c *Cluster) serverArgs() []string {
	args := []string{"-D", c.home.data(), "-p", port, "-k", c.home.data()}
	defaults := []string{"listen_addresses=", "fsync=off", "full_page_writes=off"}
	for _, setting := range append(defaults, c.settings...) {
		args = append(args, "-c", setting)
	}
	return args
}

func (c *Cluster) startServer(ctx context.Context) (*server, error) {
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of PostgreSQL: %w", err)
	}
	defer log.Close()

	cmd := c.command(context.WithoutCancel(ctx), "postgres", c.serverArgs()...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	s := &server{process: cmd.Process, exited: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(s.exited)
	}()
	if err := c.awaitReady(ctx, s); err != nil {
		s.stop()
		return nil, fmt.Errorf("start PostgreSQL in %s: %w\n%s", c.home.dir, err, c.lastLog())
	}
	return s, nil
}

// awaitReady returns nil as soon as the server lets a client in.
func (c *Cluster) awaitReady(ctx context.Context, s *server) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		conn, err := pgconn.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it exited at once: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func (c *Cluster) lastLog() string {
	text, err := os.ReadFile(c.logFile())
	if err != nil {
		return fmt.Sprintf("(its log cannot be read: %v)", err)
	}
	return strings.TrimSpace(string(text[max(0, len(text)-logTail):]))
}
