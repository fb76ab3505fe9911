package pgcluster_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/bulksub/bulksub/internal/pgcluster"
)

func TestMain(m *testing.M) {
	if os.Getenv(orphanMaker) != "" {
		makeOrphan()
		return
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, settings ...string) *pgcluster.Cluster {
	t.Helper()
	c, err := pgcluster.Start(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func exec1(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func show(t *testing.T, conn *pgx.Conn, setting string) (value string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// directory is where the cluster keeps everything.
func directory(t *testing.T, c *pgcluster.Cluster) string {
	t.Helper()
	u, err := url.Parse(c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(u.Query().Get("host"))
}

func TestURLServesPsqlAndPgx(t *testing.T) {
	t.Setenv("PGPORT", "6543")
	t.Setenv("PGSSLMODE", "require")
	c := start(t)

	conn := connect(t, c.URL("postgres"))
	exec1(t, conn, `create database "odd name/50%"`)
	conn.Close(t.Context())
	connect(t, c.URL("odd name/50%")).Close(t.Context())

	bin, err := pgcluster.FindBinaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	psql := exec.Command(filepath.Join(bin, "psql"), "-XAtc", "select current_database()", c.URL("odd name/50%"))
	out, err := psql.CombinedOutput()
	if err != nil || string(out) != "odd name/50%\n" {
		t.Errorf("psql: %v: %s", err, out)
	}
}

func TestStopRemovesEverything(t *testing.T) {
	c := start(t)
	dir := directory(t, c)
	c.Stop()
	c.Stop()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there after Stop (%v)", dir, err)
	}
	if err := c.Restart(t.Context()); !errors.Is(err, pgcluster.ErrStopped) {
		t.Errorf("Restart after Stop: %v, want ErrStopped", err)
	}
}

func TestRestartKeepsWhatWasCommitted(t *testing.T) {
	c := start(t)
	before := connect(t, c.URL("postgres"))
	exec1(t, before, "create table kept as select 42 as n")

	c.StopImmediate()
	if err := before.Ping(t.Context()); err == nil {
		t.Error("a session outlived StopImmediate")
	}
	if _, err := pgx.Connect(t.Context(), c.URL("postgres")); err == nil {
		t.Error("a stopped server let a client in")
	}
	for range 2 { // from stopped, then from running
		if err := c.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	after := connect(t, c.URL("postgres"))
	defer after.Close(t.Context())
	var n int
	if err := after.QueryRow(t.Context(), "select n from kept").Scan(&n); err != nil || n != 42 {
		t.Errorf("after the crash: %d, %v; want 42", n, err)
	}
}

func TestSettingsOverrideDefaults(t *testing.T) {
	c := start(t, "fsync=on", "max_connections=17")
	conn := connect(t, c.URL("postgres"))
	defer conn.Close(t.Context())
	for setting, want := range map[string]string{
		"fsync": "on", "max_connections": "17", "full_page_writes": "off", "listen_addresses": "",
	} {
		if got := show(t, conn, setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
}

func TestStartReportsTheServersOwnWords(t *testing.T) {
	_, err := pgcluster.Start(t.Context(), "no_such_setting=1")
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Fatalf("error %v does not carry the server's log", err)
	}
	var dir string
	if _, err := fmt.Sscanf(err.Error(), "start PostgreSQL in %s", &dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(strings.TrimSuffix(dir, ":")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was left behind (%v)", dir, err)
	}
}
