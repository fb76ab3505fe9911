package iidtest

import (
	"net/http"
	"strings"
)

// guardIID is the guard of /iid/*: it wants a bearer token together with the
// header access_token_auth (without which the real service takes the token for a
// server key and refuses it), or the server key where the old form is on.
func (s *Server) guardIID(r *http.Request) *Answer {
	form, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	key, isKey := strings.CutPrefix(form, "key=")
	switch {
	case isKey && s.config.ServerKey != "" && key == s.config.ServerKey:
		return nil
	case !isKey && isBearer(form) && strings.EqualFold(r.Header.Get("access_token_auth"), "true") && s.admitsBearer(secret):
		return nil
	}
	refusal := htmlError(http.StatusUnauthorized)
	return &refusal
}

// guardWeb is the guard of /v1/web/*: it wants a bearer token alone. The header
// access_token_auth belongs to /iid/*; that it does no harm here is not known.
func (s *Server) guardWeb(r *http.Request) *Answer {
	form, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if isBearer(form) && r.Header.Get("access_token_auth") == "" && s.admitsBearer(secret) {
		return nil
	}
	return badWeb(http.StatusUnauthorized, "Request had invalid authentication credentials.")
}

// guardFCM is the guard of the successor API, which wants a bearer token as well.
func (s *Server) guardFCM(r *http.Request) *Answer {
	form, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if isBearer(form) && s.admitsBearer(secret) {
		return nil
	}
	refusal := objectError(http.StatusUnauthorized, "Request had invalid authentication credentials.")
	return &refusal
}

func isBearer(form string) bool { return strings.EqualFold(form, "Bearer") }

func (s *Server) admitsBearer(token string) bool {
	return token != "" && (s.config.AnyBearer || s.issuer.admits(token, s.config.Now()))
}
