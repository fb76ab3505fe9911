package iidclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultEndpoint is the address of the live service.
const DefaultEndpoint = "https://iid.googleapis.com"

// Config is what a [Client] needs. Only Credential has no default.
type Config struct {
	Endpoint    string        // default DefaultEndpoint; a path, if there is one, goes before the API's own
	AllowHTTP   bool          // default false; see New for the rule
	Credential  Credential    // required
	Timeout     time.Duration // of one call, from the request to the last byte of the reply; default 60s, at most 10m
	Connections int           // idle connections that are kept, as many as there are callers; default 16, at most 1024
	UserAgent   string        // default "bulksub"
	Transport   Transport     // default NewTransport(Connections)
}

const (
	maxTimeout     = 10 * time.Minute
	maxConnections = 1024
)

// Transport is how calls travel. An [*http.Transport] is one.
type Transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// Client calls the Instance ID server API. It is safe for concurrent use, and starts
// nothing that outlives a call but idle connections.
type Client struct {
	base       *url.URL
	credential Credential
	timeout    time.Duration
	userAgent  string
	transport  Transport
}

// New checks the configuration and makes no call. An error names the field.
//
// Plain http is refused beyond this machine (127.0.0.0/8, ::1, localhost), unless
// AllowHTTP is set and the credential allows it too: neither a real credential nor
// a server key leaves the machine unencrypted.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	base, err := parseEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	if err := cfg.checkEndpoint(base); err != nil {
		return nil, err
	}
	return &Client{
		base:       base,
		credential: cfg.Credential,
		timeout:    cfg.Timeout,
		userAgent:  cfg.UserAgent,
		transport:  cfg.Transport,
	}, nil
}

// Close closes the idle connections. Calls that are under way go on; a call after
// Close opens a connection again.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Warm makes sure that there is an access token, so that a credential that does
// not work shows before the first call. It returns a [*CredentialError].
func (c *Client) Warm(ctx context.Context) error {
	_, err := c.credential.Authorize(ctx, make(http.Header))
	return err
}

func (cfg Config) withDefaults() Config {
	if cfg.Endpoint == "" {
		cfg.Endpoint = DefaultEndpoint
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Connections == 0 {
		cfg.Connections = 16
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "bulksub"
	}
	if cfg.Transport == nil {
		cfg.Transport = NewTransport(cfg.Connections)
	}
	return cfg
}

func (cfg Config) validate() error {
	switch {
	case cfg.Credential == nil:
		return errors.New("credential: none; use CredentialsFile, DefaultCredentials or ServerKeyFile")
	case cfg.Timeout < time.Millisecond || cfg.Timeout > maxTimeout:
		return fmt.Errorf("timeout: %s is not between 1ms and %s", cfg.Timeout, maxTimeout)
	case cfg.Connections < 1 || cfg.Connections > maxConnections:
		return fmt.Errorf("connections: %d is not between 1 and %d", cfg.Connections, maxConnections)
	case strings.ContainsFunc(cfg.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("user agent: only printable ASCII characters are allowed")
	}
	return nil
}

func (cfg Config) checkEndpoint(base *url.URL) error {
	err := checkPlainHTTP(base, cfg.AllowHTTP && cfg.Credential.PlainHTTP())
	switch {
	case err == nil:
		return nil
	case !cfg.Credential.PlainHTTP():
		return fmt.Errorf("endpoint: %w, or credentials of a test service: neither real ones nor a server key may go over plain http", err)
	}
	return fmt.Errorf("endpoint: %w, or set AllowHTTP (--allow-http) for a test service", err)
}
