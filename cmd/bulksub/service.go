package main

import (
	"context"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

// service is the way to the Instance ID service.
type service struct {
	client *iidclient.Client
	calls  pipeline.Service
	// project is whose quota the calls count against; without a name, whoever
	// uses this address shares it.
	project string
}

// openService makes a client. It calls nobody.
func openService(ctx context.Context, o jobOptions) (*service, error) {
	credential, err := openCredential(ctx, o.service)
	if err != nil {
		return nil, err
	}
	client, err := iidclient.New(iidclient.Config{
		Endpoint:    o.service.endpoint,
		AllowHTTP:   o.service.allowHTTP,
		Credential:  credential,
		Timeout:     o.service.timeout,
		Connections: o.service.concurrency,
		UserAgent:   "bulksub/" + version(),
	})
	if err != nil {
		return nil, &configError{err}
	}
	s := &service{client: client, calls: iid.Service{Client: client, VAPIDKey: o.asked.vapidKey}, project: o.service.endpoint}
	if known, ok := credential.(*iidclient.OAuth); ok && known.Project() != "" {
		s.project = known.Project()
	}
	if o.asked.single {
		s.calls = iid.Single{Client: client}
	}
	return s, nil
}

func openCredential(ctx context.Context, f serviceFlags) (iidclient.Credential, error) {
	switch {
	case f.serverKeyFile != "" && f.credentials != "":
		return nil, usagef("the service knows you by one credential: give --credentials or --server-key-file")
	case f.serverKeyFile != "":
		return iidclient.ServerKeyFile(f.serverKeyFile)
	case f.credentials != "":
		return iidclient.CredentialsFile(f.credentials, f.allowHTTP)
	default:
		return iidclient.DefaultCredentials(ctx, f.allowHTTP)
	}
}

// warm finds out whether the credential works, before the first call.
func (s *service) warm(ctx context.Context) error { return s.client.Warm(ctx) }

func (s *service) close() { s.client.Close() }
