package iidclient

import (
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/oauth2/google"
)

// Scope is the OAuth 2.0 scope of every access token (server reference, "use
// credentials to mint access tokens").
const Scope = "https://www.googleapis.com/auth/firebase.messaging"

// CredentialsFile reads a Google credentials file: service_account, and the
// authorized_user, external_account, external_account_authorized_user and
// impersonated_service_account that gcloud and workload identity federation write.
// Access tokens come from the addresses in the file, by https, by http on this
// machine, or, with allowHTTP, by http elsewhere.
//
// The service answers per project: use a service account of the app's own.
// An error is a final [*CredentialError].
func CredentialsFile(path string, allowHTTP bool) (*OAuth, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	return fromJSON(path, data, allowHTTP)
}

func fromJSON(path string, data []byte, allowHTTP bool) (*OAuth, error) {
	var f credentialsFile
	switch err := json.Unmarshal(data, &f); {
	case len(data) == 0:
		return nil, badFile(path, "is empty; download the key of a service account again")
	case err != nil:
		return nil, badFile(path, "is not the JSON of a credentials file; download the key of a service account")
	}
	plain, err := f.check(allowHTTP)
	if err != nil {
		return nil, badFile(path, err.Error())
	}
	m := newMinter(fileSource(data, google.CredentialsType(f.Type)))
	o := newOAuth(m.mint, plain)
	o.project = cmp.Or(f.ProjectID, f.QuotaProjectID)
	return o, nil
}

// credentialsFile holds what is checked of a file; x/oauth2/google reads the rest.
type credentialsFile struct {
	Type             string           `json:"type"`
	ProjectID        string           `json:"project_id"`
	QuotaProjectID   string           `json:"quota_project_id"`
	ClientEmail      string           `json:"client_email"`
	PrivateKey       string           `json:"private_key"`
	TokenURI         string           `json:"token_uri"`
	TokenURL         string           `json:"token_url"`
	ImpersonationURL string           `json:"service_account_impersonation_url"`
	RefreshToken     string           `json:"refresh_token"`
	Source           *credentialsFile `json:"source_credentials"`
}

// check refuses what can never give a token. plain is true for a service account
// whose tokens come over plain http: such a token is a test service's.
//
// Where an external account gets its own proof of identity is not checked: cloud
// providers serve it over plain http at a link-local address.
func (f *credentialsFile) check(allowHTTP bool) (plain bool, err error) {
	switch google.CredentialsType(f.Type) {
	case google.ServiceAccount:
		err = f.checkServiceAccount()
		plain = isPlain(f.TokenURI)
	case google.AuthorizedUser, google.ExternalAccountAuthorizedUser:
		if f.RefreshToken == "" {
			err = errors.New("has no refresh_token; log in again with gcloud")
		}
	case google.ExternalAccount:
	case google.ImpersonatedServiceAccount:
		if f.Source == nil {
			err = errors.New("has no source_credentials; create it again with gcloud")
		} else {
			_, err = f.Source.check(allowHTTP)
		}
	default:
		err = f.wrongType()
	}
	if err == nil {
		err = f.checkAddresses(allowHTTP)
	}
	return plain, err
}

func (f *credentialsFile) checkServiceAccount() error {
	if f.ClientEmail == "" {
		return errors.New("has no client_email; download the key of the service account again")
	}
	if !isRSAKey([]byte(f.PrivateKey)) {
		return errors.New("has a private_key that is no RSA key in PEM; download the key of the service account again")
	}
	return nil
}

func (f *credentialsFile) wrongType() error {
	const want = "use the key of a service account"
	if f.Type == "" {
		return errors.New("has no type; it may be an app's google-services.json or an OAuth client: " + want)
	}
	return fmt.Errorf("has the type %q, which gives no access tokens here; %s", cleanText(f.Type), want)
}

func (f *credentialsFile) checkAddresses(allowHTTP bool) error {
	for _, address := range []struct{ key, value string }{
		{"token_uri", f.TokenURI},
		{"token_url", f.TokenURL},
		{"service_account_impersonation_url", f.ImpersonationURL},
	} {
		if address.value == "" {
			continue
		}
		u, err := url.Parse(address.value)
		if err != nil {
			return fmt.Errorf("has a %s that is not a URL", address.key)
		}
		if err := checkPlainHTTP(u, allowHTTP); err != nil {
			return fmt.Errorf("has a bad %s: %w", address.key, err)
		}
	}
	return nil
}

func isPlain(address string) bool {
	return len(address) > 5 && strings.EqualFold(address[:5], "http:")
}

// isRSAKey accepts what x/oauth2 accepts when it signs, which is too late to say
// so: PKCS 8 or PKCS 1, in PEM or bare.
func isRSAKey(key []byte) bool {
	if block, _ := pem.Decode(key); block != nil {
		key = block.Bytes
	}
	if parsed, err := x509.ParsePKCS8PrivateKey(key); err == nil {
		_, ok := parsed.(*rsa.PrivateKey)
		return ok
	}
	_, err := x509.ParsePKCS1PrivateKey(key)
	return err == nil
}
