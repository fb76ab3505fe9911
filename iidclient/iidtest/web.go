package iidtest

import (
	"net/http"
	"strings"
)

// Web says how push subscriptions are answered.
type Web struct {
	// Renew is the share of tokens (0.1 is 10 %) for which a refresh gives
	// another one, by a hash of the token with Seed; see Renews.
	Renew float64
	Seed  uint64
}

// Renews tells whether the refresh of token gives another one, which is Renewed
// of it. It is the oracle of a refresh.
func (w Web) Renews(token string) bool { return unit(hash(w.Seed, token)) < w.Renew }

// refreshVerb ends the path of a refresh.
const refreshVerb = ":refresh"

// readPush understands the calls that bring a push subscription: an import, which
// is counted and judged by its endpoint, and a refresh, which has a token.
func readPush(q *request, vars pathVars) *Answer {
	q.tokens = append(q.tokens, []byte(vars.token))
	if !isJSON(q.http.Header.Get("Content-Type")) {
		return badWeb(http.StatusBadRequest, textNoJSONType)
	}
	key, ok := strings.CutPrefix(q.http.Header.Get("Crypto-Key"), "p256ecdsa=")
	if !ok || !isPoint(key) {
		return badWeb(http.StatusBadRequest, "Invalid Crypto-Key header.")
	}
	push, problem := parsePush(q.body.Bytes())
	if problem != "" {
		return badWeb(http.StatusBadRequest, problem)
	}
	q.push = push
	return nil
}

// readWebToken understands the call that deletes. It has no body to look at.
func readWebToken(q *request, vars pathVars) *Answer {
	q.tokens = append(q.tokens, []byte(vars.token))
	return nil
}

func (s *Server) serveWebImport(q *request) Answer {
	list := s.state.identifyEndpoint(q.push.Endpoint)
	if refusal := s.refuseWeb(list); refusal != nil {
		return *refusal
	}
	return webToken(s.state.importPush(q.push))
}

func (s *Server) serveWebRefresh(q *request) Answer {
	if refusal := s.refuseWeb(s.state.identify(q.tokens)); refusal != nil {
		return *refusal
	}
	token, known := s.state.refreshPush(string(q.tokens[0]), q.push, s.config.Web)
	if !known {
		return *webCode(CodeNotFound)
	}
	return webToken(token)
}

func (s *Server) serveWebDelete(q *request) Answer {
	if refusal := s.refuseWeb(s.state.identify(q.tokens)); refusal != nil {
		return *refusal
	}
	if !s.state.deletePush(string(q.tokens[0])) {
		return *webCode(CodeNotFound)
	}
	return jsonAnswer(http.StatusOK, []byte("{}"))
}

// refuseWeb is try in the words of the web part.
func (s *Server) refuseWeb(list []*device) *Answer {
	code, refusal := s.try(list)
	switch {
	case refusal != nil:
		object := badWeb(refusal.Status, "The request was refused.")
		if after := refusal.Header.Get("Retry-After"); after != "" {
			object.Header.Set("Retry-After", after)
		}
		return object
	case code != "":
		return webCode(code)
	}
	return nil
}

// webCode is the answer about one token, or the subscription that should get one.
func webCode(code string) *Answer { return badWeb(statusOf(code), code) }

func badWeb(status int, text string) *Answer {
	a := objectError(status, text)
	return &a
}

func webToken(token string) Answer {
	return jsonValue(http.StatusOK, map[string]string{"token": token})
}
