package faults

import (
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

	"github.com/bulksub/bulksub/internal/trial"
)

// F20: PgBouncer in transaction mode, where the next transaction is another session's. Debian's (1.18) knows nothing of
// prepared statements.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Mixed)
	s.throughPgBouncer()
	s.slack = batches
	s.finish("--prune", "delete")
	var used int
	must(t, s.db.QueryRow(t.Context(), `select count(distinct xmin::text) from bulksub.records`).Scan(&used))
	reached(t, "transactions went through it", used, 2)
}

// throughPgBouncer puts a PgBouncer between the program and the database.
func (s *scene) throughPgBouncer() {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "bulksub-pgbouncer-")
	must(s.t, err)
	s.t.Cleanup(func() { os.RemoveAll(dir) })
	must(s.t, os.Chmod(dir, 0o755))
	port := freePort(s.t)
	config := s.db.Config().ConnConfig
	password := ""
	if config.Password != "" {
		password = " password='" + config.Password + "'"
	}
	file := filepath.Join(dir, "pgbouncer.ini")
	must(s.t, os.WriteFile(file, fmt.Appendf(nil, `[databases]
* = host='%s' port=%d user='%s'%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 50
`, config.Host, config.Port, config.User, password, port), 0o644))
	cmd := exec.Command("pgbouncer", file)
	if os.Geteuid() == 0 { // it refuses to run as root, and the socket is for its owner
		cmd = exec.Command("pgbouncer", "-u", ownerOf(s.t, config.Host), file)
	}
	said, err := os.Create(filepath.Join(dir, "log"))
	must(s.t, err)
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	must(s.t, cmd.Start())
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if s.t.Failed() {
			text, _ := os.ReadFile(said.Name())
			s.t.Logf("PgBouncer said:\n%s", text)
		}
	})
	url := fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", config.User, trial.Secret, port, config.Database)
	for end := time.Now().Add(10 * time.Second); ; {
		conn, err := pgx.Connect(s.t.Context(), url)
		if err == nil {
			conn.Close(s.t.Context())
			break
		}
		if time.Now().After(end) {
			s.t.Fatal(err)
		}
	}
	s.Env = []string{"DATABASE_URL=" + url}
}

// ownerOf is who owns a directory; of a host, nobody.
func ownerOf(t testing.TB, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		return "nobody"
	}
	owner, err := user.LookupId(fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid))
	must(t, err)
	return owner.Username
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
