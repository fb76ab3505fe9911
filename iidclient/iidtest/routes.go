package iidtest

import (
	"net/http"
	"net/url"
	"strings"
)

// route is an endpoint. In path, {token} and {topic} stand for one segment
// each; a colon is a colon.
type route struct {
	name   string
	method string
	path   string
	// guard tells whether the caller may pass; nil lets everybody.
	guard func(*Server, *http.Request) bool
	// read understands the body, or says how it is refused. It runs before
	// guard, but its refusal is given after it.
	read func(*request, pathVars) *Answer
	// serve does what was asked.
	serve func(*Server, *request) Answer
}

// pathVars is what a path names.
type pathVars struct{ token, topic string }

// routes is the wire table. The endpoints that are still to come (web push, the
// successor API) get their line here, and a file each. The second form of info is
// in no document, but clients use it (kreait/firebase-php).
var routes = []route{
	{"batchAdd", "POST", "/iid/v1:batchAdd", (*Server).admitsIID, readBatch, serveBatch(add)},
	{"batchRemove", "POST", "/iid/v1:batchRemove", (*Server).admitsIID, readBatch, serveBatch(remove)},
	{"batchImport", "POST", "/iid/v1:batchImport", (*Server).admitsIID, readImport, (*Server).serveImport},
	{"relation", "POST", "/iid/v1/{token}/rel/topics/{topic}", (*Server).admitsIID, readRelation, (*Server).serveRelation},
	{"info", "GET", "/iid/info/{token}", (*Server).admitsIID, readInfo, (*Server).serveInfo},
	{"info", "GET", "/iid/{token}", (*Server).admitsIID, readInfo, (*Server).serveInfo},
	{"token", "POST", "/token", nil, readGrant, (*Server).serveGrant},
}

// findRoute returns the endpoint of r, or the refusal of a wrong path (404)
// or method (405). A path that is written out in the table is never read as one
// that names a token.
func findRoute(r *http.Request) (route, pathVars, *Answer) {
	refusal := htmlError(http.StatusNotFound)
	path := r.URL.EscapedPath()
	for _, candidate := range routes {
		vars, ok := matchPath(candidate.path, path)
		if ok && candidate.method == r.Method {
			return candidate, vars, nil
		}
		if ok {
			refusal = htmlError(http.StatusMethodNotAllowed)
		}
		if ok && !candidate.hasVars() {
			break
		}
	}
	return route{}, pathVars{}, &refusal
}

func (r route) hasVars() bool { return strings.Contains(r.path, "{") }

func matchPath(pattern, path string) (vars pathVars, ok bool) {
	if pattern == path {
		return vars, true
	}
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return vars, false
	}
	for i := range want {
		if !vars.match(want[i], have[i]) {
			return vars, false
		}
	}
	return vars, true
}

func (v *pathVars) match(want, have string) bool {
	text, err := url.PathUnescape(have)
	if err != nil || text == "" {
		return want == have
	}
	switch want {
	case "{token}":
		v.token = text
	case "{topic}":
		v.topic = text
	default:
		return want == text
	}
	return true
}
