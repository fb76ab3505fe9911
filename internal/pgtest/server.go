package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/migrations"
)

// EnvURL names the variable with the address of a server to use instead of a throw-away one, as a role that may create
// databases.
const EnvURL = "TEST_DATABASE_URL"

// server is the PostgreSQL of this test binary.
type server struct {
	admin    string // URL of a database to give orders from
	url      func(database string) string
	template string
	stop     func()
}

// shared starts the server at the first call and returns the same one ever after.
var shared = sync.OnceValues(startShared)

// running is what shared has started: written by it alone, read when all tests are over.
var running *server

func startShared() (*server, error) {
	ctx := context.Background()
	s, err := newServer(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.migrateTemplate(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("prepare the template database: %w", err)
	}
	running = s
	return s, nil
}

func newServer(ctx context.Context) (*server, error) {
	if address := os.Getenv(EnvURL); address != "" {
		return given(address)
	}
	cluster, err := pgcluster.Start(ctx)
	if err != nil {
		return nil, err
	}
	return &server{admin: cluster.URL("postgres"), url: cluster.URL, stop: cluster.Stop}, nil
}

// given is a server that somebody else runs: what is left to do at the end is to drop the template.
func given(address string) (*server, error) {
	base, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(base.Scheme, "postgres") {
		// The error of url.Parse would repeat the address, and the password in it.
		return nil, fmt.Errorf("%s is not a URL like postgres://user:password@host:5432/database", EnvURL)
	}
	s := &server{admin: address}
	s.url = func(database string) string {
		other := *base
		other.Path = "/" + database
		return other.String()
	}
	s.stop = func() {
		if s.template == "" {
			return
		}
		if err := s.drop(context.Background(), s.template); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return s, nil
}

func (s *server) migrateTemplate(ctx context.Context) (err error) {
	if s.template, err = s.create(ctx, "template1"); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, s.url(s.template))
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = migrations.Migrate(ctx, pool)
	return err
}

// create makes a database with a name of its own, a copy of template.
func (s *server) create(ctx context.Context, template string) (name string, err error) {
	name = "bulksub_test_" + strings.ToLower(rand.Text())
	if err := s.order(ctx, "create database "+quote(name)+" template "+quote(template)); err != nil {
		return "", fmt.Errorf("create a test database: %w", err)
	}
	return name, nil
}

func (s *server) drop(ctx context.Context, name string) error {
	if err := s.order(ctx, "drop database "+quote(name)+" with (force)"); err != nil {
		return fmt.Errorf("drop test database %s: %w", name, err)
	}
	return nil
}

func (s *server) order(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
