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

// routes is the wire table. The endpoints that are still to come (info, web push,
// the successor API) get their line here, and a file each.
var routes = []route{
	{"batchAdd", "POST", "/iid/v1:batchAdd", (*Server).admitsIID, readBatch, serveBatch(add)},
	{"batchRemove", "POST", "/iid/v1:batchRemove", (*Server).admitsIID, readBatch, serveBatch(remove)},
	{"batchImport", "POST", "/iid/v1:batchImport", (*Server).admitsIID, readImport, (*Server).serveImport},
	{"relation", "POST", "/iid/v1/{token}/rel/topics/{topic}", (*Server).admitsIID, readRelation, (*Server).serveRelation},
	{"token", "POST", "/token", nil, readGrant, (*Server).serveGrant},
}

// findRoute returns the endpoint of r, or the refusal of a wrong path (404)
// or method (405).
func findRoute(r *http.Request) (route, pathVars, *Answer) {
	refusal := htmlError(http.StatusNotFound)
	path := r.URL.EscapedPath()
	for _, route := range routes {
		vars, ok := matchPath(route.path, path)
		if ok && route.method == r.Method {
			return route, vars, nil
		}
		if ok {
			refusal = htmlError(http.StatusMethodNotAllowed)
		}
	}
	return route{}, pathVars{}, &refusal
}

func matchPath(pattern, path string) (vars pathVars, ok bool) {
	if !strings.Contains(pattern, "{") {
		return vars, pattern == path
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
