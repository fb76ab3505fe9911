package iid

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
)

// Facts are what the service knows of one token: the detail of a row that was
// asked about. What the service does not say is left out.
type Facts struct {
	Platform           string `json:"platform,omitempty"` // in upper case
	Application        string `json:"application,omitempty"`
	ApplicationVersion string `json:"application_version,omitempty"`
	AuthorizedEntity   string `json:"authorized_entity,omitempty"` // the project's number
	ConnectionType     string `json:"connection_type,omitempty"`
	ConnectDate        string `json:"connect_date,omitempty"` // yyyy-mm-dd
	// Topics are the token's topics, each with the day since when: yyyy-mm-dd.
	Topics map[string]string `json:"topics"`
}

// info asks what the service knows of a token.
func (s Service) info(ctx context.Context, token string) (pipeline.Outcome, error) {
	info, err := s.Client.Info(ctx, token, true)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	detail, err := json.Marshal(factsOf(info))
	return pipeline.Outcome{Status: pipeline.OK, Detail: string(detail)}, err
}

func factsOf(info iidclient.Info) Facts {
	f := Facts{
		Platform:           Legible(info.Platform),
		Application:        Legible(info.Application),
		ApplicationVersion: Legible(info.ApplicationVersion),
		AuthorizedEntity:   Legible(info.AuthorizedEntity),
		ConnectionType:     Legible(info.ConnectionType),
		ConnectDate:        Legible(info.ConnectDate),
		Topics:             make(map[string]string, len(info.Topics)),
	}
	for _, r := range info.Topics {
		f.Topics[Legible(r.Topic)] = Legible(r.AddDate)
	}
	return f
}

// Legible is the text without NUL, which Postgres keeps in JSON and cannot read.
func Legible(s string) string { return strings.ReplaceAll(s, "\x00", "\ufffd") }
