package iidtest

import (
	"math/rand/v2"
	"net/http"
	"slices"
)

// Import says how batchImport answers. The zero value knows every app in both
// environments, and shuffles.
type Import struct {
	// Apps are the apps of the project. For any other app, or the other
	// environment of one, the status of every token is INVALID_ARGUMENT.
	// Default: every app in both environments.
	Apps []App
	// InOrder gives the results in the order of the request. Default: shuffled,
	// by Seed and the number of the call.
	InOrder bool
	Seed    uint64
}

// App is an iOS app in one environment of APNs.
type App struct {
	BundleID string `json:"application"`
	Sandbox  bool   `json:"sandbox"`
}

// statusOK is the status of an APNs token that was imported.
const statusOK = "OK"

func (i Import) knows(app App) bool { return i.Apps == nil || slices.Contains(i.Apps, app) }

func (i Import) arrange(results []importResult, call int) {
	if i.InOrder {
		return
	}
	dealer := rand.New(rand.NewPCG(i.Seed, uint64(call)))
	dealer.Shuffle(len(results), func(a, b int) { results[a], results[b] = results[b], results[a] })
}

// readImport understands batchImport. The reference calls neither application nor
// sandbox optional.
func readImport(q *request, _ pathVars) *Answer {
	if !isJSON(q.http.Header.Get("Content-Type")) {
		return badRequest(textNoJSONType)
	}
	var fields struct {
		Application string   `json:"application"`
		Sandbox     *bool    `json:"sandbox"`
		Tokens      []string `json:"apns_tokens"`
	}
	err := unmarshal(q.body.Bytes(), &fields)
	if err == errNotJSON {
		return badRequest(textNoJSON)
	}
	q.tokens = appendTokens(q.tokens, fields.Tokens)
	if err != nil || fields.Application == "" || fields.Sandbox == nil || len(q.tokens) == 0 || len(q.tokens) > MaxImport {
		return badRequest(CodeInvalidArgument)
	}
	q.app = App{BundleID: fields.Application, Sandbox: *fields.Sandbox}
	return nil
}

// importResult is the answer for one APNs token, which is repeated as it came.
type importResult struct {
	RegistrationToken string `json:"registration_token,omitempty"`
	APNsToken         string `json:"apns_token"`
	Status            string `json:"status"`
}

func (s *Server) serveImport(q *request) Answer {
	list := s.state.identifyAPNs(q.tokens)
	fates, refusal := s.admit(list)
	if refusal != nil {
		return *refusal
	}
	if !s.config.Import.knows(q.app) {
		fates = slices.Repeat([]Fate{Invalid}, len(list))
	}
	results := s.state.mint(q.app, list, fates)
	for i := range results {
		results[i].APNsToken = string(q.tokens[i])
	}
	s.config.Import.arrange(results, q.number)
	return jsonValue(http.StatusOK, map[string]any{"results": results})
}
