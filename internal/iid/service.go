package iid

import (
	"context"
	"fmt"
	"slices"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
)

// Service makes the call that an action wants.
type Service struct {
	Client *iidclient.Client
	// VAPIDKey is the application server's public key, for push subscriptions.
	VAPIDKey string
}

var _ pipeline.Service = Service{}

// Limit is the size of a batch, or one token where there is no call for more.
func (Service) Limit(a pipeline.Action) int {
	switch a.Op {
	case pipeline.Subscribe, pipeline.Unsubscribe:
		return iidclient.MaxBatch
	case pipeline.Import:
		return iidclient.MaxImport
	default:
		return 1
	}
}

// Call does the action.
func (s Service) Call(ctx context.Context, a pipeline.Action, tokens []string) ([]pipeline.Outcome, error) {
	switch a.Op {
	case pipeline.Subscribe:
		return batch(s.Client.BatchAdd(ctx, a.Topic, tokens))
	case pipeline.Unsubscribe:
		return batch(s.Client.BatchRemove(ctx, a.Topic, tokens))
	case pipeline.Import:
		return s.importTokens(ctx, a, tokens)
	case pipeline.Info:
		return One(s.info(ctx, tokens[0]))
	case pipeline.WebImport:
		return One(s.webImport(ctx, tokens[0]))
	case pipeline.WebRefresh:
		return One(s.webRefresh(ctx, tokens[0]))
	case pipeline.WebDelete:
		return One(pipeline.Outcome{Status: pipeline.OK}, s.Client.WebDelete(ctx, tokens[0]))
	default:
		return nil, &pipeline.CallError{Kind: pipeline.Fatal, Err: fmt.Errorf("the service has no call for %q", a.Op)}
	}
}

// allOK are the outcomes where every token is ok, as most often: all such calls share them.
var allOK = slices.Repeat([]pipeline.Outcome{verdict(iidclient.CodeOK)}, iidclient.MaxBatch)

// batch makes the outcomes of a call about many tokens.
func batch(codes []iidclient.Code, err error) ([]pipeline.Outcome, error) {
	if err != nil {
		return nil, callError(err)
	}
	if !slices.ContainsFunc(codes, func(c iidclient.Code) bool { return c != iidclient.CodeOK }) {
		return allOK[:len(codes):len(codes)], nil
	}
	outcomes := make([]pipeline.Outcome, len(codes))
	for i, code := range codes {
		outcomes[i] = verdict(code)
	}
	return outcomes, nil
}

// Single subscribes a token at a time, by the call for a single relation.
type Single struct{ Client *iidclient.Client }

var _ pipeline.Service = Single{}

// Limit is one token.
func (Single) Limit(pipeline.Action) int { return 1 }

// Call subscribes one token.
func (s Single) Call(ctx context.Context, a pipeline.Action, tokens []string) ([]pipeline.Outcome, error) {
	return One(pipeline.Outcome{Status: pipeline.OK}, s.Client.Subscribe(ctx, tokens[0], a.Topic))
}
