package iidtest

import (
	"net/http"
	"strings"
)

// admitsIID is the guard of /iid/*: a bearer token together with the header
// access_token_auth (without which the real service takes the token for a
// server key and refuses it), or the server key where the old form is on.
func (s *Server) admitsIID(r *http.Request) bool {
	form, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if key, ok := strings.CutPrefix(form, "key="); ok {
		return s.config.ServerKey != "" && key == s.config.ServerKey
	}
	return strings.EqualFold(form, "Bearer") &&
		strings.EqualFold(r.Header.Get("access_token_auth"), "true") &&
		s.admitsBearer(secret)
}

func (s *Server) admitsBearer(token string) bool {
	return token != "" && (s.config.AnyBearer || s.issuer.admits(token, s.config.Now()))
}
