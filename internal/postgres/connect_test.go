package postgres

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/pgtest"
)

const secret = "s3cret"

func TestConnect(t *testing.T) {
	address := pgtest.URL(t)
	pool, err := Connect(t.Context(), address, MostConnections)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var name string
	if err := pool.QueryRow(t.Context(), "select current_setting('application_name')").Scan(&name); err != nil || name != "bulksub" {
		t.Errorf("application_name = %q, %v", name, err)
	}
	if got := pool.Config().MaxConns; got != MostConnections {
		t.Errorf("%d connections at most, want %d", got, MostConnections)
	}
	if got := pool.Config().ConnConfig.ConnectTimeout; got != connectTimeout {
		t.Errorf("the connect timeout is %v, want %v", got, connectTimeout)
	}
}

func TestConnectKeepsWhatTheURLSays(t *testing.T) {
	pool, err := Connect(t.Context(), with(t, pgtest.URL(t), "pool_max_conns", "7", "application_name", "nightly", "connect_timeout", "3"), MostConnections)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	c := pool.Config()
	if c.MaxConns != 7 || c.ConnConfig.RuntimeParams["application_name"] != "nightly" || c.ConnConfig.ConnectTimeout.Seconds() != 3 {
		t.Errorf("connections %d, name %q, timeout %v", c.MaxConns, c.ConnConfig.RuntimeParams["application_name"], c.ConnConfig.ConnectTimeout)
	}
}

// with sets parameters of a URL.
func with(t *testing.T, address string, parameters ...string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func TestBadURLIsNotRepeated(t *testing.T) {
	for _, address := range []string{
		"postgres://u:s3cret@host:port/db",
		"postgres://u:s3cret%zz@host/db",
		"postgres://u:s3cret /x@host/db",
		"postgres://u:pass@s3cret@host/db",
		"postgres://u:pass@s3cret:x@host/db",
		"postgres://u:pass/s3cret@host/db",
		"postgres://u:12/s3cret@host/db",
		"postgres://u:s3cret@[::1/db",
		"postgres://u:s3cret@host/db?pool_max_conns=many",
		"postgres://u@host/db?password=s3cret&port=x",
		"mysql://u:s3cret@host/db",
		"host=db password = s3cret port=x",
		`host=db password=a\ s3cret port=x`,
		`host=db password="a s3cret"`,
		"host=db password='s3cret",
		"s3cret",
	} {
		pool, err := Connect(t.Context(), address, MostConnections)
		if pool != nil {
			t.Errorf("%s: connected", address)
		}
		if _, ok := errors.AsType[*URLError](err); !ok || !strings.Contains(err.Error(), "--database-url") {
			t.Errorf("%s: %v, want a URLError that names the flag", address, err)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), secret) {
				t.Errorf("%s: the error has the password: %v", address, e)
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	for name, address := range map[string]string{
		"nobody listens": "postgres://u:s3cret@127.0.0.1:1/db?sslmode=disable",
		"no socket":      "postgres://u:s3cret@/db?host=" + url.QueryEscape(t.TempDir()),
	} {
		pool, err := Connect(t.Context(), address, MostConnections)
		if pool != nil {
			t.Fatalf("%s: connected", name)
		}
		if _, ok := errors.AsType[*UnreachableError](err); !ok || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want an UnreachableError without the password", name, err)
		}
		if !Passes(err) {
			t.Errorf("%s: %v does not pass by itself", name, err)
		}
	}
}

func TestConnectEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Connect(ctx, pgtest.URL(t), MostConnections); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// askForPasswords makes the cluster ask every role but its superuser for one.
func askForPasswords(t *testing.T, c *pgcluster.Cluster) {
	t.Helper()
	pool, err := Connect(t.Context(), c.URL("postgres"), MostConnections)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var file string
	if err := pool.QueryRow(t.Context(), "select current_setting('hba_file')").Scan(&file); err != nil {
		t.Fatal(err)
	}
	exec(t, pool, "create role guest login password 'right'",
		"copy (values ('local all "+pgcluster.Superuser+" trust'), ('local all all scram-sha-256')) to '"+filepath.ToSlash(file)+"'")
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWrongPassword(t *testing.T) {
	cluster, err := pgcluster.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	askForPasswords(t, cluster)
	pool, err := Connect(t.Context(), with(t, cluster.URL("postgres"), "user", "guest", "password", "right"), MostConnections)
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	_, err = Connect(t.Context(), with(t, cluster.URL("postgres"), "user", "guest", "password", secret), MostConnections)
	if Code(err) != "28P01" || Passes(err) || strings.Contains(err.Error(), secret) {
		t.Errorf("%v, want 28P01, for good, and no password", err)
	}
}
