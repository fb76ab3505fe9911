package iidtest

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// Imported is an APNs token, in lower case, that was imported for an app, and the
// registration token that it was given.
type Imported struct {
	App
	APNsToken         string `json:"apnsToken"`
	RegistrationToken string `json:"registrationToken"`
}

// Imports are the APNs tokens that were imported so far, sorted by token and app.
func (s *Server) Imports() []Imported { return s.state.listImports() }

// identifyAPNs is identify for APNs tokens, whose case does not matter.
func (s *state) identifyAPNs(tokens [][]byte) []*device {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*device, len(tokens))
	for i, token := range tokens {
		if wellFormedAPNs(token) {
			list[i] = s.origins.findOrAdd(bytes.ToLower(token))
		}
	}
	return list
}

// mint imports each APNs token whose fate allows it.
func (s *state) mint(app App, list []*device, fates []Fate) []importResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]importResult, len(list))
	for i, d := range list {
		results[i].Status = fates[i].verdict(leave, d)
		if results[i].Status == "" {
			results[i].Status = statusOK
			results[i].RegistrationToken = s.mintOne(app, d.token)
		}
	}
	return results
}

func (s *state) mintOne(app App, apnsToken string) string {
	token := Minted(app.BundleID, app.Sandbox, apnsToken)
	s.devices.findOrAdd([]byte(token))
	s.imports[token] = Imported{App: app, APNsToken: apnsToken, RegistrationToken: token}
	return token
}

func (s *state) listImports() []Imported {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.imports), func(a, b Imported) int {
		return cmp.Or(
			cmp.Compare(a.APNsToken, b.APNsToken),
			cmp.Compare(a.BundleID, b.BundleID),
			cmp.Compare(a.RegistrationToken, b.RegistrationToken),
		)
	})
}
