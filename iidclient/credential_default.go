package iidclient

import (
	"context"
	"os"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const credentialsVariable = "GOOGLE_APPLICATION_CREDENTIALS"

// DefaultCredentials finds Application Default Credentials: the file named by
// GOOGLE_APPLICATION_CREDENTIALS, else the file of "gcloud auth application-default
// login", else the service account of the Google Cloud machine that this runs on.
// Files are held to the rules of [CredentialsFile].
//
// Looking for the machine's account can take a few seconds elsewhere.
func DefaultCredentials(ctx context.Context, allowHTTP bool) (*OAuth, error) {
	if path := os.Getenv(credentialsVariable); path != "" {
		return CredentialsFile(path, allowHTTP)
	}
	found, err := google.FindDefaultCredentials(ctx, Scope)
	if err != nil {
		return nil, &CredentialError{Final: true, Reason: "no usable default credentials; name a file in " +
			credentialsVariable + ", or run gcloud auth application-default login: " + cleanText(err.Error())}
	}
	if found.JSON != nil {
		return fromJSON("the file of gcloud auth application-default login", found.JSON, allowHTTP)
	}
	o := newOAuth(mintOnMachine, false)
	o.project = found.ProjectID
	return o, nil
}

// mintOnMachine asks the metadata server, whose client has limits of its own: five
// seconds a try, six tries. A failure is never final, as that server starts
// with the machine.
func mintOnMachine(ctx context.Context) (*oauth2.Token, error) {
	token, err := google.ComputeTokenSource("", Scope).Token()
	switch {
	case ctx.Err() != nil:
		return nil, waitEnded(ctx)
	case err != nil:
		return nil, &CredentialError{Reason: "no access token from the metadata server of this machine; " +
			"check that a service account is attached: " + cleanText(err.Error())}
	}
	return token, nil
}
