package iidclient

import (
	"context"
	"fmt"
	"net/http"
)

// MaxBatch is the most tokens of one batchAdd or batchRemove call ("up to 1000
// app instances per API call", server reference).
const MaxBatch = 1000

// BatchAdd subscribes tokens to a topic: POST /iid/v1:batchAdd. The codes are in
// the order of the tokens and exactly as many; an empty one is success. With an
// error there are no codes, and nothing is known of any token.
//
// The topic is written with or without /topics/. No token, more than [MaxBatch],
// or one that is empty or not UTF-8, is an [*ArgumentError] before any call.
// The other errors are [*CredentialError], [*TransportError], [*StatusError] and
// [*ReplyError].
func (c *Client) BatchAdd(ctx context.Context, topic string, tokens []string) ([]Code, error) {
	return c.batch(ctx, "batchAdd", topic, tokens)
}

// BatchRemove unsubscribes tokens from a topic: POST /iid/v1:batchRemove. See
// [Client.BatchAdd] for all the rest. Removing a subscription that is not there
// is success.
func (c *Client) BatchRemove(ctx context.Context, topic string, tokens []string) ([]Code, error) {
	return c.batch(ctx, "batchRemove", topic, tokens)
}

func (c *Client) batch(ctx context.Context, method, topic string, tokens []string) (codes []Code, err error) {
	name, err := CheckTopic(topic)
	if err != nil {
		return nil, err
	}
	if err := checkBatch(tokens); err != nil {
		return nil, err
	}
	body := newBuffer()
	defer keep(body)
	r := Request{
		Name:   method,
		Method: http.MethodPost,
		Path:   []string{"/iid/v1:" + method},
		Body:   encodeBatch(body, name, tokens),
	}
	err = c.Do(ctx, r, func(body []byte) (err error) {
		codes, err = decodeResults(body, len(tokens))
		return err
	})
	return codes, err
}

func checkBatch(tokens []string) error {
	if len(tokens) == 0 || len(tokens) > MaxBatch {
		return &ArgumentError{Name: "tokens", Problem: fmt.Sprintf("%d in one batch, 1 to %d are allowed", len(tokens), MaxBatch)}
	}
	for i, token := range tokens {
		if !sendable(token) {
			return &ArgumentError{Name: "tokens", Problem: fmt.Sprintf("the one at index %d is empty or not UTF-8; leave it out", i)}
		}
	}
	return nil
}
