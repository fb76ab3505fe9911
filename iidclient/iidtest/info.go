package iidtest

import (
	"net/http"
	"time"
)

// The names of the platforms are those of the reference's text; its samples write
// "Android".
const (
	platformAndroid = "ANDROID"
	platformIOS     = "IOS"
	platformWeb     = "WEBPUSH" // in no edition, but seen for browsers
)

// senderID is the number of the project: whom a token's authorizedEntity names.
const senderID = "123456782354"

// readInfo understands the call about one token. It has no body to look at.
func readInfo(q *request, vars pathVars) *Answer {
	q.tokens = append(q.tokens, []byte(vars.token))
	return nil
}

func (s *Server) serveInfo(q *request) Answer {
	list := s.state.identify(q.tokens)
	code, refusal := s.try(list)
	if refusal != nil {
		return *refusal
	}
	if code != "" {
		return relationAnswer(code)
	}
	token := list[0].token
	facts := s.state.origin(token)
	if q.http.URL.Query().Get("details") == "true" {
		facts.addDetails(s.state.subscriptions(token), q.arrived)
	}
	return jsonValue(http.StatusOK, facts)
}

// facts is what info says of a token: the fields of all editions of the reference,
// and those that were seen beside them.
type facts map[string]any

// origin is what a token is without its details.
func (s *state) origin(token string) facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := facts{
		"application":        "com.example.android",
		"authorizedEntity":   senderID,
		"platform":           platformAndroid,
		"applicationVersion": "36",
		"scope":              "*",
	}
	if push, known := s.web.pushes[token]; known {
		f["application"], f["platform"], f["subtype"] = "webpush", platformWeb, "wp:"+push.Endpoint
		return f
	}
	if imported, known := s.imports[token]; known {
		f["application"], f["platform"] = imported.BundleID, platformIOS
		return f
	}
	f["appSigner"], f["attestStatus"] = "1a2bc3d4e51a2bc3d4e51a2bc3d4e51a2bc3d4e5", "NOT_ROOTED"
	return f
}

// addDetails leaves rel out where there is nothing to say, as the service does.
func (f facts) addDetails(list []Subscription, now time.Time) {
	f["connectionType"], f["connectDate"] = "WIFI", now.UTC().Format(time.DateOnly)
	if len(list) == 0 {
		return
	}
	topics := map[string]any{}
	for _, sub := range list {
		topics[sub.Topic] = map[string]string{"addDate": sub.AddDate}
	}
	f["rel"] = map[string]any{"topics": topics}
}
