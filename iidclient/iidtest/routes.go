package iidtest

import (
	"net/http"
	"net/url"
	"strings"
)

// route is an endpoint. In path, {project}, {token} and {topic} stand for one segment
// each, or for all of one but the verb that the table has behind them; a colon is a
// colon.
type route struct {
	name   string
	method string
	path   string
	// guard says how a caller is refused who may not pass; nil lets everybody.
	guard func(*Server, *http.Request) *Answer
	// read understands the body, or says how it is refused. It runs before
	// guard, but its refusal is given after it.
	read func(*request, pathVars) *Answer
	// serve does what was asked.
	serve func(*Server, *request) Answer
}

// pathVars is what a path names.
type pathVars struct{ project, token, topic string }

// routes is the wire table. The last lines but one are the successor API. The second form of info is in no document, but clients
// use it (kreait/firebase-php).
var routes = []route{
	{"batchAdd", "POST", "/iid/v1:batchAdd", (*Server).guardIID, readBatch, serveBatch(add)},
	{"batchRemove", "POST", "/iid/v1:batchRemove", (*Server).guardIID, readBatch, serveBatch(remove)},
	{"batchImport", "POST", "/iid/v1:batchImport", (*Server).guardIID, readImport, (*Server).serveImport},
	{"relation", "POST", "/iid/v1/{token}/rel/topics/{topic}", (*Server).guardIID, readRelation, (*Server).serveRelation},
	{"info", "GET", "/iid/info/{token}", (*Server).guardIID, readInfo, (*Server).serveInfo},
	{"info", "GET", "/iid/{token}", (*Server).guardIID, readInfo, (*Server).serveInfo},
	{"webImport", "POST", "/v1/web/iid", (*Server).guardWeb, readPush, (*Server).serveWebImport},
	{"webRefresh", "POST", "/v1/web/iid/{token}:refresh", (*Server).guardWeb, readPush, (*Server).serveWebRefresh},
	{"webDelete", "DELETE", "/v1/web/iid/{token}", (*Server).guardWeb, readWebToken, (*Server).serveWebDelete},
	{"fcmCreate", "POST", fcmPath, (*Server).guardFCM, readCreate, serveFCM(create)},
	{"fcmDelete", "DELETE", fcmPath + "/{topic}", (*Server).guardFCM, readNamed, serveFCM(destroy)},
	{"fcmGet", "GET", fcmPath + "/{topic}", (*Server).guardFCM, readNamed, serveFCM(get)},
	{"fcmPatch", "PATCH", fcmPath + "/{topic}", (*Server).guardFCM, readNamed, serveFCM(patch)},
	{"fcmList", "GET", fcmPath, (*Server).guardFCM, readListed, serveFCM(list)},
	{"token", "POST", "/token", nil, readGrant, (*Server).serveGrant},
}

// findRoute returns the endpoint of r, or the refusal of a wrong path (404)
// or method (405). A path that is written out in the table is never read as one
// that names a token.
func findRoute(r *http.Request) (route, pathVars, *Answer) {
	refusal := htmlError(http.StatusNotFound)
	path := r.URL.EscapedPath()
	have := strings.Split(path, "/")
	for i, candidate := range routes {
		vars, ok := matchPath(patterns[i], have)
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

// patterns are the segments of the paths in routes.
var patterns = func() (all [][]string) {
	for _, r := range routes {
		all = append(all, strings.Split(r.path, "/"))
	}
	return all
}()

func matchPath(want, have []string) (vars pathVars, ok bool) {
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
	if want == have {
		return true
	}
	text, err := url.PathUnescape(have)
	if err != nil || text == "" {
		return want == have
	}
	switch want {
	case "{project}":
		v.project = text
	case "{token}":
		v.token = text
	case "{token}" + refreshVerb:
		v.token, _ = strings.CutSuffix(text, refreshVerb)
		return v.token != "" && v.token != text
	case "{topic}":
		v.topic = text
	default:
		return want == text
	}
	return true
}
