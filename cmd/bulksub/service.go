package main

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/bulksub/bulksub/fcmclient"
	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

// service is the way to the service: by the Instance ID API, unless it is told otherwise.
type service struct {
	flags              serviceFlags
	credential         iidclient.Credential
	credentialsProject string // "": they do not say
	client             *iidclient.Client
	successor          *fcmclient.Client // nil: not opened
	calls              pipeline.Service
	looks              pipeline.Service // for what is known of a token
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
	calls := iid.Service{Client: client, VAPIDKey: o.asked.vapidKey}
	s := &service{flags: o.service, credential: credential, client: client, calls: calls, looks: calls, project: o.service.endpoint}
	if known, ok := credential.(*iidclient.OAuth); ok && known.Project() != "" {
		s.project, s.credentialsProject = known.Project(), known.Project()
	}
	if o.asked.single {
		s.calls = iid.Single{Client: client}
	}
	if o.service.api == apiFCM {
		_, err = s.openSuccessor()
	}
	return s, err
}

func openCredential(ctx context.Context, f serviceFlags) (iidclient.Credential, error) {
	switch {
	case f.serverKeyFile != "" && f.credentials != "":
		return nil, usagef("a job has one credential: give either --credentials or --server-key-file")
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

func (s *service) close() {
	s.client.Close()
	if s.successor != nil {
		s.successor.Close()
	}
}

// name tells the service from others, of which nothing is believed that is believed of this one: its address.
func (f serviceFlags) name() string {
	u, err := url.Parse(f.endpoint)
	if err != nil {
		return f.endpoint
	}
	return strings.ToLower(u.Scheme+"://"+u.Host) + strings.TrimSuffix(u.Path, "/")
}

// longest is how long one call may take, once it has been announced.
func (f serviceFlags) longest() time.Duration { return mintTime + f.timeout }

// mintTime is how long a call may wait for an access token, before its own time begins.
const mintTime = 30 * time.Second
