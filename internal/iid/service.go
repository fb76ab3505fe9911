package iid

import (
	"context"
	"fmt"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
)

// Service makes batch calls.
type Service struct{ Client *iidclient.Client }

var _ pipeline.Service = Service{}

// Limit is the size of a batch.
func (Service) Limit(a pipeline.Action) int {
	if a.Op == pipeline.Import {
		return iidclient.MaxImport
	}
	return iidclient.MaxBatch
}

// Call imports, subscribes or unsubscribes a batch.
func (s Service) Call(ctx context.Context, a pipeline.Action, tokens []string) ([]pipeline.Outcome, error) {
	call := s.Client.BatchAdd
	switch a.Op {
	case pipeline.Import:
		return s.importTokens(ctx, a, tokens)
	case pipeline.Subscribe:
	case pipeline.Unsubscribe:
		call = s.Client.BatchRemove
	default:
		return nil, &pipeline.CallError{Kind: pipeline.Fatal, Err: fmt.Errorf("the service has no call for %q", a.Op)}
	}
	codes, err := call(ctx, a.Topic, tokens)
	if err != nil {
		return nil, callError(err)
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
	err := s.Client.Subscribe(ctx, tokens[0], a.Topic)
	if err == nil {
		return []pipeline.Outcome{{Status: pipeline.OK}}, nil
	}
	if o, judged := singleVerdict(err); judged {
		return []pipeline.Outcome{o}, nil
	}
	return nil, callError(err)
}
