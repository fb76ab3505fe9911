package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/bulksub/bulksub/fcmclient"
	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/internal/iid"
	"github.com/bulksub/bulksub/pipeline"
)

// Service makes the call that an action wants.
type Service struct{ Client *fcmclient.Client }

var _ pipeline.Service = Service{}

// Limit is one token.
func (Service) Limit(pipeline.Action) int { return 1 }

// Call does the action.
func (s Service) Call(ctx context.Context, a pipeline.Action, tokens []string) ([]pipeline.Outcome, error) {
	ok := pipeline.Outcome{Status: pipeline.OK}
	switch a.Op {
	case pipeline.Subscribe:
		return one(ok, s.Client.Subscribe(ctx, tokens[0], a.Topic))
	case pipeline.Unsubscribe:
		return one(ok, s.Client.Unsubscribe(ctx, tokens[0], a.Topic))
	case pipeline.Info:
		return one(s.info(ctx, tokens[0]))
	default:
		return nil, &pipeline.CallError{Kind: pipeline.Fatal, Err: fmt.Errorf("the successor of the Instance ID API has no call for %q", a.Op)}
	}
}

// info asks for the topics of a token, which is all that this API knows of it.
func (s Service) info(ctx context.Context, token string) (pipeline.Outcome, error) {
	list, err := s.Client.List(ctx, token)
	if err != nil {
		return pipeline.Outcome{}, err
	}
	facts := iid.Facts{Topics: make(map[string]string, len(list.Subscriptions))}
	for _, subscription := range list.Subscriptions {
		facts.Topics[iid.Legible(subscription.Topic)] = day(subscription.Created)
	}
	detail, err := json.Marshal(facts)
	return pipeline.Outcome{Status: pipeline.OK, Detail: string(detail)}, err
}

// day is empty if the service does not say when it was.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// one makes the outcome of a call. What cannot stand in one is malformed. What is about the
// project is the end of the job.
func one(o pipeline.Outcome, err error) ([]pipeline.Outcome, error) {
	if argument, ok := errors.AsType[*iidclient.ArgumentError](err); ok {
		detail, _ := json.Marshal(map[string]string{"reason": argument.Error()})
		return []pipeline.Outcome{{Status: pipeline.Malformed, Detail: string(detail)}}, nil
	}
	if _, ok := errors.AsType[*fcmclient.ProjectError](err); ok {
		return nil, &pipeline.CallError{Kind: pipeline.Fatal, Err: err}
	}
	if answer := vague(err); answer != nil {
		return nil, &pipeline.CallError{Kind: pipeline.Unavailable, Code: answer.Code, Answered: true, Err: fmt.Errorf("%w, and the service does not say of what; if every call ends so, there is no such project or it does not have this API: see --project", err)}
	}
	return iid.One(o, err)
}

// vague is a 404 that does not tell what it is that is not there, or a 409 that does not tell
// of a subscription that is there; nil for other errors. The call is made again, and if the
// service judges others meanwhile, the token has failed.
func vague(err error) *iidclient.StatusError {
	if _, judged := errors.AsType[*iidclient.TokenError](err); judged {
		return nil
	}
	answer, ok := errors.AsType[*iidclient.StatusError](err)
	if !ok || answer.Status != http.StatusNotFound && answer.Status != http.StatusConflict {
		return nil
	}
	return answer
}
