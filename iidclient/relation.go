package iidclient

import (
	"context"
	"net/url"
)

// Subscribe subscribes one token to a topic, the reference's "relation mapping for
// an app instance": POST /iid/v1/TOKEN/rel/topics/TOPIC with an empty body. Unlike
// on a batch, a [*StatusError] may be a verdict on the token: status 400 with the
// code InvalidToken, or 404. The API has no call that removes a single relation;
// [Client.BatchRemove] with one token does it.
//
// Errors are those of [Client.BatchAdd].
func (c *Client) Subscribe(ctx context.Context, token, topic string) error {
	name, err := CheckTopic(topic)
	if err != nil {
		return err
	}
	if !sendable(token) || isDots(token) {
		return &ArgumentError{Name: "token", Problem: "empty, not UTF-8, or only dots; leave it out"}
	}
	if isDots(name) {
		return &ArgumentError{Name: "topic", Problem: "only dots cannot be part of a path; use BatchAdd"}
	}
	r := request{
		name:    "subscribe",
		path:    "/iid/v1/" + token + "/rel/topics/" + name,
		escaped: "/iid/v1/" + url.PathEscape(token) + "/rel/topics/" + url.PathEscape(name),
	}
	return c.post(ctx, r, decodeEmpty)
}

// isDots finds the path segments that a server or proxy removes (RFC 3986, 5.2.4),
// which would make it another call. Escaping does not save them.
func isDots(segment string) bool { return segment == "." || segment == ".." }
