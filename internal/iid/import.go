package iid

import (
	"context"

	"github.com/bulksub/bulksub/pipeline"
)

// importTokens makes registration tokens for APNs tokens. Of a code that only an import
// has, none is a final verdict: each is asked again.
func (s Service) importTokens(ctx context.Context, a pipeline.Action, apnsTokens []string) ([]pipeline.Outcome, error) {
	imported, err := s.Client.BatchImport(ctx, a.Application, a.Sandbox, apnsTokens)
	if err != nil {
		return nil, callError(err)
	}
	outcomes := make([]pipeline.Outcome, len(imported))
	for i, one := range imported {
		outcomes[i] = verdict(one.Code)
		outcomes[i].RegistrationToken = one.RegistrationToken
	}
	return outcomes, nil
}
