package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// MostConnections is how many connections a fast process has use for: it reads,
// writes, renews its leases and asks for its next calls at the same time.
const MostConnections = 4

const (
	connectTimeout = 10 * time.Second
	// pingAfter is how long a connection must have been idle to be tried before it is used: a
	// process that waits asks every second or two, and what fails is asked again.
	pingAfter = time.Minute
)

// UnreachableError is a database that did not answer the first question.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string {
	if errors.Is(e.Err, pgconn.ErrStandbyConnection) {
		return "the database is a standby, which may lag behind and takes no results; name the primary, or look with target_session_attrs=any in the URL"
	}
	return fmt.Sprintf("the database cannot be reached: %v", e.Err)
}
func (e *UnreachableError) Unwrap() error { return e.Err }

// URLError is a database URL that cannot be used. It does not repeat the URL,
// which may hold a password.
type URLError struct{ Err error }

func (e *URLError) Error() string {
	return "the database URL cannot be used (--database-url, DATABASE_URL): " + e.Err.Error() +
		"; write it like postgres://user:password@host:5432/database, with %40 for @ and %2F for / in the password"
}
func (e *URLError) Unwrap() error { return e.Err }

// Connect opens a pool and asks the database one question, so that a database
// that is not there is found out at once: it returns a [*URLError] or an
// [*UnreachableError]. It prepares no statements by name, which a pooler such as
// PgBouncer may keep for another session. It reads nothing from a standby, which may lag behind what was
// written through another connection, unless target_session_attrs in the URL says that it may. No more connections than
// most are in use at once, until [Allow] says otherwise or if pool_max_conns in the URL does. Close it after use.
func Connect(ctx context.Context, url string, most int) (*pgxpool.Pool, error) {
	config, err := parse(url)
	if err != nil {
		return nil, &URLError{Err: err}
	}
	if _, set := config.ConnConfig.RuntimeParams["application_name"]; !set {
		config.ConnConfig.RuntimeParams["application_name"] = "bulksub"
	}
	if config.ConnConfig.ConnectTimeout == 0 || config.ConnConfig.ConnectTimeout > time.Minute {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if !strings.Contains(url, "default_query_exec_mode") {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	if config.ConnConfig.ValidateConnect == nil && !strings.Contains(url, "target_session_attrs") {
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	if !poolSizeGiven(url) {
		config.MaxConns, config.ConnConfig.Tracer = MostConnections, newRoom(most)
	}
	config.ShouldPing = func(_ context.Context, conn pgxpool.ShouldPingParams) bool { return conn.IdleDuration > pingAfter }
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, &URLError{Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, &UnreachableError{Err: err}
	}
	return pool, nil
}

// parse returns errors that hold nothing of the URL but what is wrong with it:
// pgx masks the passwords that it recognizes, and not all are.
func parse(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		text := err.Error()
		return nil, errors.New(text[strings.LastIndex(text, "`: ")+len("`: "):])
	}
	if strings.Contains(config.ConnConfig.Host+config.ConnConfig.Database, "@") {
		return nil, errors.New("there is an @ in the host or the database")
	}
	return config, nil
}

func poolSizeGiven(url string) bool { return strings.Contains(url, "pool_max_conns") }
