package fcmclient

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bulksub/bulksub/iidclient"
)

// Subscription is that of a registration to a topic.
type Subscription struct {
	Topic   string    // without /topics/
	Created time.Time // UTC; zero if the service does not say
}

// Listing is what the service says of a registration.
type Listing struct {
	Subscriptions []Subscription // sorted by topic
	// Date is the service's clock when it answered, to the second; zero if it did not
	// say.
	Date time.Time
}

const (
	// pageSize is the most that the service gives at a time, and also the most topics of one
	// app instance: there is rarely a second page.
	pageSize = "2000"
	// mostPages ends a list that does not end.
	mostPages = 100
)

// List asks for the subscriptions of a registration: GET …/topicSubscriptions, page by page.
// Errors are those of [Client.Subscribe].
func (c *Client) List(ctx context.Context, registration string) (Listing, error) {
	if err := iidclient.CheckToken(registration); err != nil {
		return Listing{}, err
	}
	var list Listing
	var asked []string // the tokens of pages
	query := "pageSize=" + pageSize
	for {
		var next string
		r := c.question(query, registration)
		r.Heard = func(header http.Header) { list.Date, _ = http.ParseTime(header.Get("Date")) }
		err := c.api.Do(ctx, r, func(body []byte) error {
			some, following, err := decodePage(body)
			list.Subscriptions, next = append(list.Subscriptions, some...), following
			return err
		})
		if err != nil {
			return Listing{}, err
		}
		if next == "" {
			slices.SortFunc(list.Subscriptions, func(a, b Subscription) int { return strings.Compare(a.Topic, b.Topic) })
			return list, nil
		}
		if slices.Contains(asked, next) || len(asked) == mostPages-1 {
			return Listing{}, &iidclient.ReplyError{Reason: "a list of subscriptions without an end"}
		}
		asked = append(asked, next)
		query = "pageSize=" + pageSize + "&pageToken=" + url.QueryEscape(next)
	}
}

// Get asks for one subscription of a registration: GET …/topicSubscriptions/TOPIC. found is
// false, without an error, where the service says NOT_FOUND and not that the registration
// is gone. Errors are those of [Client.Subscribe].
func (c *Client) Get(ctx context.Context, registration, topic string) (s Subscription, found bool, err error) {
	name, err := check(registration, topic)
	if err != nil {
		return Subscription{}, false, err
	}
	found = true
	r := c.question("", registration, name)
	r.Judge = func(e *iidclient.StatusError, body []byte) error {
		err := c.judge(e, body)
		if err == error(e) && e.Status == http.StatusNotFound && e.Code == notFound {
			found = false
			return nil
		}
		return err
	}
	err = c.api.Do(ctx, r, func(body []byte) (err error) {
		s, err = decodeSubscription(body)
		return err
	})
	return s, found && err == nil, err
}

// question is a call that changes nothing.
func (c *Client) question(query, registration string, topic ...string) iidclient.Request {
	return iidclient.Request{
		Name:   "list",
		Method: http.MethodGet,
		Path:   c.subscriptions(registration, topic...),
		Query:  query,
		Amend:  iidclient.BearerOnly,
		Judge:  c.judge,
	}
}
