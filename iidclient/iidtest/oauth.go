package iidtest

import (
	"net/http"
	"net/url"
)

const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// readGrant leaves the form to serveGrant, whose refusals are OAuth's own.
func readGrant(*request, pathVars) *Answer { return nil }

// serveGrant is the OAuth token endpoint: it changes a JWT that is signed with
// the key of CredentialsJSON into an access token.
func (s *Server) serveGrant(q *request) Answer {
	form, err := url.ParseQuery(q.body.String())
	if err != nil {
		return grantError("invalid_request", "Bad Request")
	}
	if form.Get("grant_type") != grantType {
		return grantError("unsupported_grant_type", "Invalid grant_type: "+form.Get("grant_type"))
	}
	now := s.config.Now()
	if refusal := s.issuer.verify(form.Get("assertion"), now); refusal != nil {
		return *refusal
	}
	return jsonValue(http.StatusOK, map[string]any{
		"access_token": s.issuer.grant(now),
		// Google's own says 3599 where a token lives an hour.
		"expires_in": max(1, int(s.config.TokenLife.Seconds())-1),
		"token_type": "Bearer",
	})
}

func grantError(code, description string) Answer {
	return jsonValue(http.StatusBadRequest, map[string]string{
		"error":             code,
		"error_description": description,
	})
}
