package pgtest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/migrations"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestNewIsMigrated(t *testing.T) {
	if err := migrations.Check(t.Context(), pgtest.New(t)); err != nil {
		t.Error(err)
	}
}

func TestDatabasesAreApart(t *testing.T) {
	for _, name := range []string{"one", "two", "three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			var before int
			if err := pool.QueryRow(t.Context(), `select count(*) from bulksub.tokens`).Scan(&before); err != nil {
				t.Fatal(err)
			}
			if before != 0 {
				t.Errorf("a fresh database holds %d tokens", before)
			}
			if _, err := pool.Exec(t.Context(), `insert into bulksub.tokens (token) values ('a')`); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestEmptyHasNoSchema(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), pgtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var absent bool
	if err := conn.QueryRow(t.Context(), `select to_regnamespace('bulksub') is null`).Scan(&absent); err != nil || !absent {
		t.Errorf("absent = %t, %v; want true", absent, err)
	}
}

func TestDatabaseIsDroppedAfterTheTest(t *testing.T) {
	var url string
	t.Run("user", func(t *testing.T) {
		url = pgtest.URL(t)
		if _, err := pgx.Connect(t.Context(), url); err != nil { // left open on purpose
			t.Fatal(err)
		}
	})
	_, err := pgx.Connect(t.Context(), url)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "3D000" {
		t.Errorf("connecting to the dropped database: %v, want 3D000", err)
	}
}

// inner runs TestNewIsMigrated in a second copy of this test binary.
func inner(t *testing.T, env ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNewIsMigrated$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestNoServerFailsTheTest(t *testing.T) {
	out, err := inner(t, pgtest.EnvURL+"=", "PGBIN="+t.TempDir())
	if err == nil || !strings.Contains(out, "--- FAIL") || !strings.Contains(out, "apt-get install postgresql") {
		t.Errorf("without a server: %v\n%s", err, out)
	}
}

func TestGivenServerIsLeftAsItWas(t *testing.T) {
	cluster, err := pgcluster.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)

	if out, err := inner(t, pgtest.EnvURL+"="+cluster.URL("postgres"), "PGBIN="+t.TempDir()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left := databases(t, cluster.URL("postgres")); left != "postgres template0 template1" {
		t.Errorf("databases after the run: %s", left)
	}
}

func TestGivenAddressIsNotRepeated(t *testing.T) {
	out, err := inner(t, pgtest.EnvURL+"=host=db password=s3cret")
	if err == nil || !strings.Contains(out, pgtest.EnvURL) || strings.Contains(out, "s3cret") {
		t.Errorf("with a malformed address: %v\n%s", err, out)
	}
}

func databases(t *testing.T, url string) (names string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	err = conn.QueryRow(t.Context(), `select string_agg(datname, ' ' order by datname) from pg_database`).Scan(&names)
	if err != nil {
		t.Fatal(err)
	}
	return names
}
