package sink

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// cutter is a connection to Postgres in which the next message of a kind meets an
// accident.
type cutter struct {
	mu       sync.Mutex
	at       string                       // what stands in the message
	accident func(net.Conn, []byte) error // nil: none
}

// arm makes the next commit meet an accident.
func (c *cutter) arm(accident func(net.Conn, []byte) error) { c.armAt("commit\x00", accident) }

// armAt makes the next statement with the text meet an accident. The text of one
// that has been prepared is not sent again.
func (c *cutter) armAt(text string, accident func(net.Conn, []byte) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.accident = text, accident
}

func (c *cutter) armed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accident != nil
}

type cutConn struct {
	net.Conn
	cutter *cutter
}

func (c *cutConn) Write(b []byte) (int, error) {
	c.cutter.mu.Lock()
	defer c.cutter.mu.Unlock()
	accident := c.cutter.accident
	if accident == nil || !strings.Contains(string(b), c.cutter.at) {
		return c.Conn.Write(b)
	}
	c.cutter.accident = nil
	if err := accident(c.Conn, b); err != nil {
		c.Conn.Close()
		return 0, err
	}
	return c.Conn.Write(b)
}

// Read waits for an accident under way, which reads the reply itself.
func (c *cutConn) Read(b []byte) (int, error) {
	c.cutter.armed()
	return c.Conn.Read(b)
}

var errCut = errors.New("connection cut by the test")

// cutBefore lets no commit reach the server, cutAfter lets no reply come back.
func cutBefore(net.Conn, []byte) error { return errCut }

func cutAfter(conn net.Conn, commit []byte) error {
	if _, err := conn.Write(commit); err != nil {
		return err
	}
	reply := make([]byte, 1)
	if _, err := conn.Read(reply); err != nil {
		return err
	}
	return errCut
}

// newCutter returns a second pool on the database, of one connection at a time.
func newCutter(t *testing.T, db *pgxpool.Pool) (*cutter, *pgxpool.Pool) {
	t.Helper()
	c := new(cutter)
	return c, poolThrough(t, db, func(conn net.Conn) net.Conn { return &cutConn{Conn: conn, cutter: c} })
}

// poolThrough returns a second pool on the database, each of whose connections is wrapped.
func poolThrough(t *testing.T, db *pgxpool.Pool, wrap func(net.Conn) net.Conn) *pgxpool.Pool {
	t.Helper()
	config := db.Config()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return wrap(conn), err
	}
	config.ConnConfig.RuntimeParams["application_name"] = "victim"
	through, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(through.Close)
	return through
}
