package fcmclient

import (
	"context"
	"net/http"
	"net/url"

	"github.com/bulksub/bulksub/iidclient"
)

// Subscribe subscribes a registration to a topic:
// POST /v1/projects/P/registrations/REG/topicSubscriptions. The answer ALREADY_EXISTS is
// success; any other 409 is not, as ABORTED has that status too (google.rpc.Code).
//
// A registration that cannot stand in a path, and a topic beyond 900 characters, with a
// character that is none of a topic's or below private/, which this API does not have, is an
// [*iidclient.ArgumentError] before any call. See the package for the other errors.
func (c *Client) Subscribe(ctx context.Context, registration, topic string) error {
	name, err := check(registration, topic)
	if err != nil {
		return err
	}
	return c.api.Do(ctx, iidclient.Request{
		Name:   "subscribe",
		Method: http.MethodPost,
		Path:   c.subscriptions(registration),
		Query:  "topic_name=" + url.QueryEscape(name),
		Body:   []byte("{}"),
		Amend:  iidclient.BearerOnly,
		Judge: func(e *iidclient.StatusError, body []byte) error {
			if e.Status == http.StatusConflict && e.Body == iidclient.BodyObject && e.Code == alreadyExists {
				return nil
			}
			return c.judge(e, body)
		},
	}, decodeSubscribed(name))
}

// Unsubscribe ends the subscription of a registration to a topic:
// DELETE …/topicSubscriptions/TOPIC?allow_missing=true. That there is none is success. Errors
// are those of [Client.Subscribe].
func (c *Client) Unsubscribe(ctx context.Context, registration, topic string) error {
	name, err := check(registration, topic)
	if err != nil {
		return err
	}
	return c.api.Do(ctx, iidclient.Request{
		Name:   "unsubscribe",
		Method: http.MethodDelete,
		Path:   c.subscriptions(registration, name),
		Query:  "allow_missing=true",
		Amend:  iidclient.BearerOnly,
		Judge:  c.judge,
	}, decodeObject)
}
