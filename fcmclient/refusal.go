package fcmclient

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/bulksub/bulksub/iidclient"
)

// ProjectError is a refusal that is about no registration: the project is not there, the API is
// not enabled in it, the credential may not use it, or there is no such API at this address.
type ProjectError struct {
	Project string
	Reason  string // Google's own word, such as SERVICE_DISABLED; "" if it gave none
	Answer  *iidclient.StatusError
}

// advice says what to do about the reasons that Google gives (google.api.ErrorReason).
var advice = map[string]string{
	"SERVICE_DISABLED":      "the Firebase Cloud Messaging API is not enabled in it; enable it in the Google Cloud console, and try again some minutes later",
	"CONSUMER_INVALID":      "there is no such project, or the credential may not see it; see --project",
	"CONSUMER_SUSPENDED":    "the project is suspended; see the Google Cloud console",
	"IAM_PERMISSION_DENIED": "there is no such project, or the credential lacks the role Firebase Cloud Messaging API Admin in it; see --project and --credentials",
}

func (e *ProjectError) Error() string {
	what := advice[e.Reason]
	switch {
	case what != "":
	case e.Answer.Status == http.StatusForbidden:
		what = "the credential may not use the API in it; see --project and --credentials"
	default:
		what = "there is no such project, or the API is not there for it; see --project and --endpoint"
	}
	return fmt.Sprintf("project %s: %s (%s%v)", e.Project, what, strings.TrimPrefix(e.Reason+", ", ", "), e.Answer)
}

// Unwrap returns the Answer.
func (e *ProjectError) Unwrap() error { return e.Answer }

// The service's own words.
const (
	alreadyExists = "ALREADY_EXISTS"
	notFound      = "NOT_FOUND"
	unregistered  = "UNREGISTERED"       // the registration is gone
	otherSender   = "SENDER_ID_MISMATCH" // the registration belongs to another project
)

// judge says what a refusal means. Only an error object is the service's; a page is that of
// the front end before it, where 403, 404 and 410 tell of the project or the path.
//
// A detail of FCM's own (FcmError.errorCode) tells what is wrong with a registration, which is
// gone only where the word and the number of the status agree. An ErrorInfo of another
// service's is about the project. A 404 without either could be about anything, and judges
// nobody; and so does a status that tells of the call, whatever its details.
func (c *Client) judge(e *iidclient.StatusError, body []byte) error {
	var d details
	if e.Body == iidclient.BodyObject {
		d = readDetails(body)
	}
	e.RetryAfter = cmp.Or(e.RetryAfter, d.retryDelay)
	switch {
	case aboutProject(e.Status) && (d.reason != "" || e.Body != iidclient.BodyObject):
		return &ProjectError{Project: c.project, Reason: d.reason, Answer: e}
	case e.Body != iidclient.BodyObject, !aboutRegistration(e.Status):
		return e
	case d.full:
		return &iidclient.TokenError{Code: iidclient.CodeTooManyTopics, Answer: e}
	case e.Status == http.StatusTooManyRequests:
		return e
	case d.word == unregistered && e.Code == notFound && e.Status == http.StatusNotFound:
		return &iidclient.TokenError{Code: iidclient.CodeNotFound, Answer: e}
	case e.Status == http.StatusForbidden, d.word == otherSender:
		return &iidclient.TokenError{Code: iidclient.CodePermissionDenied, Answer: e}
	case e.Status == http.StatusBadRequest:
		return &iidclient.TokenError{Code: iidclient.CodeInvalidArgument, Answer: e}
	}
	return e
}

func aboutProject(status int) bool {
	return status == http.StatusForbidden || status == http.StatusNotFound || status == http.StatusGone
}

func aboutRegistration(status int) bool {
	return aboutProject(status) || status == http.StatusBadRequest || status == http.StatusTooManyRequests
}

// word is how Google spells reasons and codes (google.aip.dev/193).
var word = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,62}$`)

// details are what the details of an error object tell.
type details struct {
	word       string        // FCM's own
	reason     string        // that of another service: of access, of billing, …
	retryDelay time.Duration // what a RetryInfo asks for
	full       bool          // a quota of the registration is used up, and not of the project
}

// detail has the fields of all messages that are read.
type detail struct {
	Type       string `json:"@type"`
	ErrorCode  string `json:"errorCode"`
	Reason     string `json:"reason"`
	Domain     string `json:"domain"`
	RetryDelay string `json:"retryDelay"`
	Violations []struct {
		Subject string `json:"subject"`
	} `json:"violations"`
}

func readDetails(body []byte) (d details) {
	var reply struct {
		Error once[struct {
			Details once[[]detail] `json:"details"`
		}] `json:"error"`
	}
	if json.Unmarshal(body, &reply) != nil {
		return d
	}
	for _, one := range reply.Error.value.Details.value {
		if !word.MatchString(cmp.Or(one.ErrorCode, one.Reason, notFound)) {
			continue
		}
		switch _, kind, _ := strings.Cut(one.Type, "/"); {
		case strings.HasSuffix(kind, ".FcmError"):
			d.word = one.ErrorCode
		case kind == "google.rpc.ErrorInfo" && strings.HasPrefix(one.Domain, "fcm"):
			d.word = cmp.Or(d.word, one.Reason)
		case kind == "google.rpc.ErrorInfo":
			d.reason = one.Reason
		case kind == "google.rpc.RetryInfo":
			delay, _ := time.ParseDuration(one.RetryDelay)
			d.retryDelay = max(0, delay)
		case kind == "google.rpc.QuotaFailure":
			for _, v := range one.Violations {
				d.full = d.full || strings.Contains(v.Subject, "/registrations/")
			}
		}
	}
	return d
}
