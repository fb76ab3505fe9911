package iid

import (
	"context"
	"encoding/json"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
)

// Push is a browser's push subscription, with the registration token whose
// subscription it replaces; an import has none.
type Push struct {
	Token string `json:"token,omitempty"`
	iidclient.Subscription
}

// Subject is the push as the subject of a row.
func (p Push) Subject() string {
	text, _ := json.Marshal(p)
	return string(text)
}

// webImport makes a registration token of the push subscription.
func (s Service) webImport(ctx context.Context, subject string) (pipeline.Outcome, error) {
	var p Push
	if err := json.Unmarshal([]byte(subject), &p); err != nil {
		return pipeline.Outcome{}, err
	}
	token, err := s.Client.WebImport(ctx, s.VAPIDKey, p.Subscription)
	return pipeline.Outcome{Status: pipeline.OK, RegistrationToken: token}, err
}

// webRefresh replaces a token's push subscription. The token may be another from then on.
func (s Service) webRefresh(ctx context.Context, subject string) (pipeline.Outcome, error) {
	var p Push
	if err := json.Unmarshal([]byte(subject), &p); err != nil {
		return pipeline.Outcome{}, err
	}
	token, err := s.Client.WebRefresh(ctx, s.VAPIDKey, p.Token, p.Subscription)
	return pipeline.Outcome{Status: pipeline.OK, RegistrationToken: token}, err
}
