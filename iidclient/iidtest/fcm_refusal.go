package iidtest

import (
	"net/http"
	"strconv"
	"time"
)

// The types of the details that stand in an error object.
const (
	typeFCM   = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
	typeInfo  = "type.googleapis.com/google.rpc.ErrorInfo"
	typeField = "type.googleapis.com/google.rpc.BadRequest"
	typeQuota = "type.googleapis.com/google.rpc.QuotaFailure"
	typeRetry = "type.googleapis.com/google.rpc.RetryInfo"
)

// detail is one of them.
type detail map[string]any

// detailed is an error object with details.
func detailed(status int, word, text string, details ...detail) Answer {
	return jsonValue(status, map[string]any{"error": map[string]any{
		"code": status, "message": text, "status": word, "details": details,
	}})
}

// fcmRefusal is what the successor API answers about a registration of such a fate. The
// bodies for one that is gone, cannot be read or is another project's are those of FCM's send call;
// how this API words them has not been published. A word that is none of the
// service's comes as it is, with the status of a failure of the service.
func fcmRefusal(code string, q *request) Answer {
	switch code {
	case CodeNotFound:
		return detailed(http.StatusNotFound, code, "Requested entity was not found.", detail{"@type": typeFCM, "errorCode": "UNREGISTERED"})
	case CodeInvalidArgument:
		return detailed(http.StatusBadRequest, code, "The registration token is not a valid FCM registration token", detail{"@type": typeFCM, "errorCode": code})
	case CodePermissionDenied:
		return detailed(http.StatusForbidden, code, "SenderId mismatch", detail{"@type": typeFCM, "errorCode": "SENDER_ID_MISMATCH"})
	case CodeTooManyTopics:
		return overQuota("projects/"+q.project+"/registrations/"+string(q.tokens[0]), 0)
	case CodeResourceExhausted:
		return overQuota("project:"+q.project, time.Second)
	case CodeInternal, CodeUnavailable, CodeDeadlineExceeded:
		return detailed(statusOf(code), code, "Try again.", detail{"@type": typeFCM, "errorCode": code})
	}
	return detailed(http.StatusInternalServerError, code, "An error that is in no list.")
}

// overQuota is the answer to a call above the quota of a subject.
func overQuota(subject string, wait time.Duration) Answer {
	details := []detail{{"@type": typeQuota, "violations": []detail{{"subject": subject, "description": "Quota exceeded."}}}}
	if wait > 0 {
		details = append(details, detail{"@type": typeRetry, "retryDelay": strconv.FormatFloat(wait.Seconds(), 'f', -1, 64) + "s"})
	}
	return detailed(http.StatusTooManyRequests, CodeResourceExhausted, "Quota exceeded.", details...)
}

// noSubscription is the answer about a subscription that is not there.
func noSubscription() Answer {
	return objectError(http.StatusNotFound, "Requested entity was not found.")
}

// badField is the answer to a call that cannot be understood.
func badField(field, text string) *Answer {
	a := detailed(http.StatusBadRequest, CodeInvalidArgument, text,
		detail{"@type": typeField, "fieldViolations": []detail{{"field": field, "description": text}}})
	return &a
}

// refuseProject is how Google's front end refuses a call for a project in which the API is
// not enabled, and for one that the credential has nothing to do with, or that does not
// exist: which of the two is not told.
func (s *Server) refuseProject(project string) *Answer {
	var refusal Answer
	switch {
	case project != projectID && project != senderID:
		refusal = detailed(http.StatusForbidden, CodePermissionDenied,
			"Permission 'cloudmessaging.topicSubscriptions.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/"+project+"' (or it may not exist).",
			detail{"@type": typeInfo, "reason": "IAM_PERMISSION_DENIED", "domain": "cloudresourcemanager.googleapis.com"})
	case s.config.FCM.Disabled:
		refusal = detailed(http.StatusForbidden, CodePermissionDenied,
			"Firebase Cloud Messaging API has not been used in project "+senderID+" before or it is disabled.",
			detail{"@type": typeInfo, "reason": "SERVICE_DISABLED", "domain": "googleapis.com"})
	default:
		return nil
	}
	return &refusal
}
