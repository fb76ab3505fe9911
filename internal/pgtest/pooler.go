package pgtest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pooler is a PgBouncer in transaction mode, where the next transaction may be another session's. It ends with its test.
type Pooler struct {
	config *pgx.ConnConfig
	port   int
	log    string // file
	ours   int    // clients that were Await's
}

// pooling is its configuration: three sessions for all clients.
const pooling = `[databases]
* = host='%s' port=%d user='%s'%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 50
server_login_retry = 1
`

// NewPooler starts a PgBouncer before the server of a database, and returns when it lets clients in. At the server they
// all are the user, or the URL's if that is empty. A machine without PgBouncer fails the test.
func NewPooler(tb testing.TB, databaseURL, user string) *Pooler {
	tb.Helper()
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		tb.Fatal(err)
	}
	p := &Pooler{config: config, port: freePort(tb)}
	dir, err := os.MkdirTemp("", "bulksub-pgbouncer-") // tb.TempDir is closed to other users
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	if err := p.start(tb, dir, cmp.Or(user, config.User)); err != nil {
		tb.Fatal(err)
	}
	p.Await(tb)
	return p
}

// Await returns when it lets clients in, which may be a second later than the server behind it has come back.
func (p *Pooler) Await(tb testing.TB) {
	tb.Helper()
	before := p.Clients(tb)
	for end := time.Now().Add(10 * time.Second); ; {
		conn, err := pgx.Connect(tb.Context(), p.URL(p.config.Database))
		if err == nil { // it lets clients in before it has a server for them
			err = conn.Ping(tb.Context())
			conn.Close(tb.Context())
		}
		if err == nil {
			p.ours += p.Clients(tb) - before
			return
		}
		if time.Now().After(end) {
			tb.Fatal(err)
		}
	}
}

// start runs PgBouncer until the test ends, and again each time that it ends by itself, as an init system does: 1.18 gives
// up ("server in bad state: 11", pgbouncer#822) when a cancel request and the end of its client meet.
func (p *Pooler) start(tb testing.TB, dir, user string) error {
	file := filepath.Join(dir, "pgbouncer.ini")
	password := ""
	if p.config.Password != "" {
		password = " password='" + p.config.Password + "'"
	}
	text := fmt.Appendf(nil, pooling, p.config.Host, p.config.Port, user, password, p.port)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		return err
	}
	line := []string{file}
	if os.Geteuid() == 0 { // it refuses to run as root, and the socket is for its owner
		line = []string{"-u", ownerOf(p.config.Host), file}
	}
	p.log = filepath.Join(dir, "log")
	said, err := os.Create(p.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			cmd := exec.CommandContext(ctx, program, line...)
			cmd.Stdout, cmd.Stderr = said, said
			cmd.Run()
		}
	}()
	tb.Cleanup(func() {
		cancel()
		<-ended
		said.Close()
		if tb.Failed() {
			text, _ := os.ReadFile(p.log)
			tb.Logf("PgBouncer said:\n%s", text)
		}
	})
	return nil
}

// URL is the way through it to a database.
func (p *Pooler) URL(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", p.config.User, p.port, database)
}

// Clients is how many others have come.
func (p *Pooler) Clients(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Count(text, []byte("login attempt")) - p.ours
}

// ownerOf is who owns a directory; of a host, nobody.
func ownerOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "nobody"
	}
	owner, err := user.LookupId(fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid))
	if err != nil {
		return "nobody"
	}
	return owner.Username
}

func freePort(tb testing.TB) int {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
