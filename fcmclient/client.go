package fcmclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bulksub/bulksub/iidclient"
)

// DefaultEndpoint is the address of the live service.
const DefaultEndpoint = "https://fcm.googleapis.com"

// Config is what a [Client] needs. Project and Credential have no default.
type Config struct {
	Project     string               // ID or number of the project that the registrations belong to
	Endpoint    string               // default DefaultEndpoint; a path, if there is one, goes before the API's own
	AllowHTTP   bool                 // default false; see iidclient.New for the rule
	Credential  iidclient.Credential // one that gives access tokens
	Timeout     time.Duration        // of one call, from the request to the last byte of the reply; default 60s, at most 10m
	Concurrency int                  // how many callers there are at a time, more or less; default 256, at most 1024
	UserAgent   string               // default "bulksub"
}

const (
	defaultConcurrency = 256
	maxConcurrency     = 1024
)

// Client calls the FCM Topic Subscription API. It is safe for concurrent use, and starts
// nothing that outlives a call but idle connections.
type Client struct {
	api     *iidclient.Client
	lanes   lanes // of the api
	project string
}

// New checks the configuration and makes no call. An error names the field.
//
// Over plain http, which is for stand-ins, it speaks HTTP/2 as well.
func New(cfg Config) (*Client, error) {
	if err := CheckProject(cfg.Project); err != nil {
		return nil, err
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = DefaultEndpoint
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Concurrency < 1 || cfg.Concurrency > maxConcurrency {
		return nil, fmt.Errorf("concurrency: %d is not between 1 and %d", cfg.Concurrency, maxConcurrency)
	}
	lanes := newLanes(cfg.Concurrency)
	api, err := iidclient.New(iidclient.Config{
		Endpoint: cfg.Endpoint, AllowHTTP: cfg.AllowHTTP, Credential: cfg.Credential,
		Timeout: cfg.Timeout, UserAgent: cfg.UserAgent, Transport: lanes,
	})
	if err != nil {
		return nil, err
	}
	return &Client{api: api, lanes: lanes, project: cfg.Project}, nil
}

// CheckProject returns an error for what can be neither ID nor number of a project: these
// are lower-case letters, digits, hyphens and, in old ones, a domain before a colon.
func CheckProject(project string) error {
	if project == "" {
		return errors.New("project: none; the service wants to know whose registrations they are")
	}
	if strings.Trim(project, "abcdefghijklmnopqrstuvwxyz0123456789-.:") != "" || strings.Trim(project, ".") == "" {
		return fmt.Errorf("project: %q is no project ID; it is in lower case, as the console shows it", project)
	}
	return nil
}

// Close closes the idle connections. Calls that are under way go on; a call after
// Close opens a connection again.
func (c *Client) Close() { c.api.Close() }

// Warm is [iidclient.Client.Warm].
func (c *Client) Warm(ctx context.Context) error { return c.api.Warm(ctx) }

// subscriptions is the path of a registration's subscriptions, or of that to the topic.
func (c *Client) subscriptions(registration string, topic ...string) []string {
	path := []string{"/v1/projects/", c.project, "/registrations/", registration, "/topicSubscriptions"}
	if len(topic) > 0 {
		path[4] += "/"
	}
	return append(path, topic...)
}

// check returns the bare name of the topic, or an [*iidclient.ArgumentError] for what cannot
// be asked for.
func check(registration, topic string) (name string, err error) {
	if err := iidclient.CheckToken(registration); err != nil {
		return "", err
	}
	name, err = iidclient.CheckTopic(topic)
	if err == nil && (strings.Contains(name, "/") || name == "." || name == "..") {
		return "", &iidclient.ArgumentError{Name: "topic", Problem: "a topic that begins with private/, or is only dots, cannot be named to this API"}
	}
	return name, err
}
