package pgtest

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Accident is what a message to Postgres meets in its place on a connection. The message goes on if it is nil that the
// accident returns; otherwise the connection is closed, and that is the error of the write.
type Accident func(conn net.Conn, message []byte) error

// Cutter is a way to Postgres on which messages meet accidents.
type Cutter struct {
	mu        sync.Mutex
	at        string // what stands in the message
	accidents []Accident
}

// NewCutter returns a second pool on the database, of one connection at a time.
func NewCutter(tb testing.TB, db *pgxpool.Pool) (*Cutter, *pgxpool.Pool) {
	tb.Helper()
	c := new(Cutter)
	return c, Through(tb, db, func(conn net.Conn) net.Conn { return &cutConn{Conn: conn, cutter: c} })
}

// Arm makes the next commits meet accidents, one each.
func (c *Cutter) Arm(accidents ...Accident) { c.ArmAt("commit\x00", accidents...) }

// ArmAt makes the next statements with the text meet accidents. The text of one
// that has been prepared is not sent again.
func (c *Cutter) ArmAt(text string, accidents ...Accident) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.accidents = text, accidents
}

// Armed reports whether an accident has not happened yet.
func (c *Cutter) Armed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.accidents) > 0
}

type cutConn struct {
	net.Conn
	cutter *Cutter
}

func (c *cutConn) Write(b []byte) (int, error) {
	c.cutter.mu.Lock()
	defer c.cutter.mu.Unlock()
	if len(c.cutter.accidents) == 0 || !strings.Contains(string(b), c.cutter.at) {
		return c.Conn.Write(b)
	}
	accident := c.cutter.accidents[0]
	c.cutter.accidents = c.cutter.accidents[1:]
	if err := accident(c.Conn, b); err != nil {
		c.Conn.Close()
		return 0, err
	}
	return c.Conn.Write(b)
}

// Read waits for an accident under way, which reads the reply itself.
func (c *cutConn) Read(b []byte) (int, error) {
	c.cutter.Armed()
	return c.Conn.Read(b)
}

// ErrCut is the error of an accident.
var ErrCut = errors.New("connection cut by the test")

// CutBefore is the [Accident] of a message that does not reach the server.
func CutBefore(net.Conn, []byte) error { return ErrCut }

// CutAfter is the [Accident] of a message whose reply does not come back.
func CutAfter(conn net.Conn, message []byte) error {
	if _, err := conn.Write(message); err != nil {
		return err
	}
	reply := make([]byte, 1)
	if _, err := conn.Read(reply); err != nil {
		return err
	}
	return ErrCut
}

// Through returns a second pool on the database, each of whose connections is wrapped. They say application_name victim.
func Through(tb testing.TB, db *pgxpool.Pool, wrap func(net.Conn) net.Conn) *pgxpool.Pool {
	tb.Helper()
	config := db.Config()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return wrap(conn), err
	}
	config.ConnConfig.RuntimeParams["application_name"] = "victim"
	through, err := pgxpool.NewWithConfig(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(through.Close)
	return through
}
