package iidclient

import (
	"context"
	"net/http"
)

// Subscribe subscribes one token to a topic, the reference's "relation mapping for
// an app instance": POST /iid/v1/TOKEN/rel/topics/TOPIC with an empty body. The API
// has no call that removes a single relation; [Client.BatchRemove] with one token
// does it.
//
// Errors are those of [Client.BatchAdd], and [*TokenError], the service's verdict on
// the token.
func (c *Client) Subscribe(ctx context.Context, token, topic string) error {
	name, err := CheckTopic(topic)
	if err != nil {
		return err
	}
	if err := CheckToken(token); err != nil {
		return err
	}
	if isDots(name) {
		return &ArgumentError{Name: "topic", Problem: "only dots cannot be part of a path; use BatchAdd"}
	}
	r := Request{
		Name:   "subscribe",
		Method: http.MethodPost,
		Path:   []string{"/iid/v1/", token, "/rel/topics/", name},
		Judge:  judge(tokenVerdicts),
	}
	return c.Do(ctx, r, decodeEmpty)
}
