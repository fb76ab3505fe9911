package iidtest

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// fcmPath is a registration's topic subscriptions in the successor API.
const fcmPath = "/v1/projects/{project}/registrations/{token}/topicSubscriptions"

// FCM says how the successor API answers.
type FCM struct {
	// Disabled says that the API is not enabled in the project.
	Disabled bool
	// Page is the most subscriptions of one page, whatever a call asks for. Default: 2000.
	Page int
}

const (
	defaultPage = 1000
	largestPage = 2000
)

// readCreate understands the call that adds one registration to one topic. Both spellings
// of the parameter are taken, as the service does (JSON transcoding).
func readCreate(q *request, vars pathVars) *Answer {
	vars.topic = q.parameter("topic_name", "topicName")
	return readNamed(q, vars)
}

// readNamed understands a call about one subscription. Unlike the Instance ID API this one
// has no topics below private/.
func readNamed(q *request, vars pathVars) *Answer {
	q.topic, q.tokens = vars.topic, append(q.tokens, []byte(vars.token))
	body := strings.TrimSpace(q.body.String())
	if !validTopic(vars.topic) || strings.Contains(vars.topic, "/") {
		return badField("topic_name", "Invalid topic name.")
	}
	if body != "" && (!isJSON(q.http.Header.Get("Content-Type")) || body[0] != '{') {
		return badField("topic_subscription", "Invalid JSON payload received.")
	}
	return nil
}

// readListed understands the call that lists.
func readListed(q *request, vars pathVars) *Answer {
	q.tokens = append(q.tokens, []byte(vars.token))
	return nil
}

// parameter is a query parameter in either spelling.
func (q *request) parameter(snake, camel string) string {
	values := q.http.URL.Query()
	return cmp.Or(values.Get(snake), values.Get(camel))
}

func (q *request) allowsMissing() bool { return q.parameter("allow_missing", "allowMissing") == "true" }

// deed is what a call of the successor API does for a registration that the service
// knows. fate is what the service makes of it.
type deed func(s *Server, q *request, d *device, fate Fate) Answer

// serveFCM is a call of the successor API: project, quota and fate first.
func serveFCM(do deed) func(*Server, *request) Answer {
	return func(s *Server, q *request) Answer {
		if refusal := s.refuseProject(q.project); refusal != nil {
			return *refusal
		}
		list := s.state.identify(q.tokens)
		fates, poisoned := s.judge(list)
		if poisoned || list[0] == nil {
			return fcmRefusal(CodeInvalidArgument, q)
		}
		if granted, _ := s.quota.take(1, s.config.Now()); granted == 0 {
			return overQuota("project:"+q.project, s.config.Quota.RetryAfter)
		}
		return do(s, q, list[0], fates[0])
	}
}

// create subscribes. That there is such a subscription already is a conflict.
func create(s *Server, q *request, d *device, fate Fate) Answer {
	code, before := s.state.applyTo(d, change{add, q.topic, dayOf(q.arrived)}, fate)
	switch {
	case code != "":
		return fcmRefusal(code, q)
	case before:
		return objectError(http.StatusConflict, "Requested entity already exists")
	}
	return jsonValue(http.StatusOK, resource(q, q.topic, q.arrived))
}

// destroy unsubscribes. That there is no such subscription is an error, unless that is
// allowed.
func destroy(s *Server, q *request, d *device, fate Fate) Answer {
	code, before := s.state.applyTo(d, change{remove, q.topic, 0}, fate)
	switch {
	case code != "":
		return fcmRefusal(code, q)
	case !before && !q.allowsMissing():
		return noSubscription()
	}
	return jsonAnswer(http.StatusOK, []byte("{}\n"))
}

// patch finds a subscription or, if that is allowed, makes it.
func patch(s *Server, q *request, d *device, fate Fate) Answer {
	if !q.allowsMissing() {
		return get(s, q, d, fate)
	}
	if code, _ := s.state.applyTo(d, change{add, q.topic, dayOf(q.arrived)}, fate); code != "" {
		return fcmRefusal(code, q)
	}
	return get(s, q, d, Live)
}

// get shows one subscription.
func get(s *Server, q *request, d *device, fate Fate) Answer {
	if code := s.state.try(d, fate); code != "" {
		return fcmRefusal(code, q)
	}
	for _, sub := range s.state.subscriptions(d.token) {
		if sub.Topic == q.topic {
			return jsonValue(http.StatusOK, resource(q, sub.Topic, sub.added()))
		}
	}
	return noSubscription()
}

// list shows a page of subscriptions, by topic. The token of a page is where it begins.
func list(s *Server, q *request, d *device, fate Fate) Answer {
	if code := s.state.try(d, fate); code != "" {
		return fcmRefusal(code, q)
	}
	size, err := strconv.Atoi(cmp.Or(q.parameter("page_size", "pageSize"), "0"))
	from, wrong := strconv.Atoi(cmp.Or(q.parameter("page_token", "pageToken"), "0"))
	all := s.state.subscriptions(d.token)
	if err != nil || wrong != nil || size < 0 || from < 0 || from > len(all) {
		return *badField("page_token", "Invalid page.")
	}
	size = min(cmp.Or(size, defaultPage), largestPage, cmp.Or(s.config.FCM.Page, largestPage))
	to := min(from+size, len(all))
	reply := map[string]any{}
	if to < len(all) {
		reply["next_page_token"] = strconv.Itoa(to)
	}
	var page []map[string]string
	for _, sub := range all[from:to] {
		page = append(page, resource(q, sub.Topic, sub.added()))
	}
	if page != nil {
		reply["topic_subscriptions"] = page
	}
	return jsonValue(http.StatusOK, reply)
}

// added is the first moment of the day on which the token was added.
func (s Subscription) added() time.Time {
	day, _ := time.Parse(time.DateOnly, s.AddDate)
	return day
}

// resource is a subscription as it is shown.
func resource(q *request, topic string, created time.Time) map[string]string {
	return map[string]string{
		"name":        "projects/" + q.project + "/registrations/" + string(q.tokens[0]) + "/topicSubscriptions/" + topic,
		"topic_name":  topic,
		"create_time": created.UTC().Format(time.RFC3339Nano),
	}
}
