package iidtest

import (
	"net/http"
	"strings"
)

// readRelation understands the call that adds one token to one topic. Its body
// is empty, or the {} that some clients send.
func readRelation(q *request, vars pathVars) *Answer {
	q.topic, q.tokens = vars.topic, append(q.tokens, []byte(vars.token))
	body := strings.TrimSpace(q.body.String())
	if !validTopic(vars.topic) || body != "" && body != "{}" {
		return badRequest(CodeInvalidArgument)
	}
	return nil
}

func (s *Server) serveRelation(q *request) Answer {
	codes, refusal := s.apply(add, q)
	if refusal != nil {
		return *refusal
	}
	return relationAnswer(codes[0])
}

// relationAnswer turns the code of a token into the status and text of a call
// about one (the statuses of codes that the reference does not list there are
// those of google.rpc.Code).
func relationAnswer(code string) Answer {
	switch code {
	case "":
		return jsonAnswer(http.StatusOK, []byte("{}"))
	case CodeInvalidArgument:
		return jsonError(http.StatusBadRequest, "InvalidToken")
	case CodeNotFound:
		return jsonError(http.StatusNotFound, "No information found about this instance id.")
	}
	return jsonError(statusOf(code), code)
}
