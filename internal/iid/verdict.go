package iid

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
)

// verdicts says what each code means for a row. A code that is not here is not
// known: it is asked again, and then kept word for word as a failure.
var verdicts = map[iidclient.Code]pipeline.Outcome{
	iidclient.CodeOK:                {Status: pipeline.OK},
	iidclient.CodeNotFound:          {Status: pipeline.NotFound},
	iidclient.CodeInvalidArgument:   {Status: pipeline.Invalid},
	iidclient.CodeTooManyTopics:     {Status: pipeline.TooManyTopics},
	iidclient.CodePermissionDenied:  {Status: pipeline.Denied},
	iidclient.CodeUnauthenticated:   {Status: pipeline.Denied},
	iidclient.CodeResourceExhausted: {Status: pipeline.Failed, Again: true, Exhausted: true},
}

func verdict(code iidclient.Code) pipeline.Outcome {
	o, known := verdicts[code]
	if !known {
		o = pipeline.Outcome{Status: pipeline.Failed, Again: true}
	}
	o.Code = string(code)
	return o
}

// tokenVerdict finds the answers to a call about one token that judge it.
func tokenVerdict(err error) (pipeline.Outcome, bool) {
	judged, ok := errors.AsType[*iidclient.TokenError](err)
	if !ok {
		return pipeline.Outcome{}, false
	}
	o := verdict(judged.Code)
	o.Code = judged.Answer.Code
	return o, true
}

// One makes the outcome of a call about one token: o, or what err says of the token. An
// error without a verdict becomes a [*pipeline.CallError].
func One(o pipeline.Outcome, err error) ([]pipeline.Outcome, error) {
	if err == nil {
		return []pipeline.Outcome{o}, nil
	}
	if o, judged := tokenVerdict(err); judged {
		return []pipeline.Outcome{o}, nil
	}
	return nil, callError(err)
}

// callError says what a call without verdicts means for the job.
func callError(err error) error {
	call := &pipeline.CallError{Kind: pipeline.Unavailable, Lingers: lingers(err), Err: err}
	if answer, ok := errors.AsType[*iidclient.StatusError](err); ok {
		call.Kind, call.After, call.Code = statusKind(answer), answer.RetryAfter, answer.Code
		call.Answered = !elsewhere(answer.Status)
		if advice := statusAdvice(answer); call.Kind == pipeline.Fatal && advice != "" {
			call.Err = fmt.Errorf("%w; %s", err, advice)
		}
	}
	if _, ok := errors.AsType[*iidclient.ReplyError](err); ok {
		call.Answered = true
	}
	if credential, ok := errors.AsType[*iidclient.CredentialError](err); ok && credential.Final {
		call.Kind = pipeline.Fatal
	}
	if _, ok := errors.AsType[*iidclient.ArgumentError](err); ok {
		call.Kind = pipeline.Fatal
	}
	return call
}

// elsewhere reports whether a status tells of trouble before the service, or of too
// much work, rather than of this call.
func elsewhere(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// lingers reports whether the call was sent, and neither answered nor turned away: nobody
// answered, or a gateway that has waited for the service in vain.
func lingers(err error) bool {
	if answer, ok := errors.AsType[*iidclient.StatusError](err); ok {
		switch answer.Status {
		case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	_, answered := errors.AsType[*iidclient.ReplyError](err)
	_, uncredited := errors.AsType[*iidclient.CredentialError](err)
	_, refused := errors.AsType[*iidclient.ArgumentError](err)
	connection, _ := errors.AsType[*net.OpError](err)
	return !answered && !uncredited && !refused && (connection == nil || connection.Op != "dial")
}

func statusKind(answer *iidclient.StatusError) pipeline.CallKind {
	switch status := answer.Status; {
	case status == http.StatusTooManyRequests:
		return pipeline.Throttled
	case status == http.StatusRequestTimeout, status == http.StatusRequestEntityTooLarge, status >= 500:
		return pipeline.Unavailable // a batch that stays too large is divided like one that stays unanswered
	case status == http.StatusUnauthorized && answer.Refreshed:
		return pipeline.Unavailable
	case status == http.StatusBadRequest && answer.Body == iidclient.BodyHTML:
		return pipeline.Unavailable // the front end's word, not the service's
	case status == http.StatusBadRequest:
		return pipeline.Refused
	default:
		return pipeline.Fatal
	}
}

func statusAdvice(answer *iidclient.StatusError) string {
	switch status := answer.Status; {
	case status == http.StatusUnauthorized:
		return "the credential was refused, a fresh access token too; see --credentials"
	case status == http.StatusForbidden:
		return "the credential's project may not use the API; enable it there, or use the app's own service account"
	case status >= 300 && status < 400:
		return "the service never redirects; see --endpoint"
	case status == http.StatusNotFound, status == http.StatusGone:
		return "no such API at this address; see --endpoint (Google switches the API off on 2027-09-29)"
	}
	return ""
}
