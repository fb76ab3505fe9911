package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/bulksub/bulksub/fcmclient"
	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/internal/fcm"
)

// The APIs that change topic subscriptions, as --api names them.
const (
	apiIID  = "iid" // the Instance ID API
	apiFCM  = "fcm" // its successor, the FCM Topic Subscription API
	apiAuto = "auto"
)

// lastDay is when Google switches the Instance ID API off.
const lastDay = "2027-09-29"

// apiNames are what people call them.
var apiNames = map[string]string{apiIID: "the Instance ID API", apiFCM: "the FCM Topic Subscription API"}

// hasSuccessor reports whether the successor has the calls that the command makes.
func (a *asking) hasSuccessor() bool {
	return a.command != "import" && !a.web()
}

// web reports whether it is one of the web commands.
func (a *asking) web() bool { return strings.HasPrefix(a.command, "web") }

// checkAPI refuses what cannot be done by the API that is asked for.
func (o *jobOptions) checkAPI() error {
	switch o.service.api {
	case "", apiIID, apiAuto:
		return nil
	case apiFCM:
	default:
		return usagef("--api is %q; it can be iid, fcm or auto", o.service.api)
	}
	if !o.asked.hasSuccessor() {
		return usagef("%s has no call for bulksub %s; %s", apiNames[apiFCM], o.asked.command, o.asked.withoutSuccessor())
	}
	return nil
}

// withoutSuccessor says what becomes of a command whose calls only the Instance ID API has.
func (a *asking) withoutSuccessor() string {
	if a.web() {
		return "with --api iid there is one, but " + strings.ReplaceAll(webIsOver, "\n", " ")
	}
	return fmt.Sprintf("it works with --api iid until %s, when Google switches %s off", lastDay, apiNames[apiIID])
}

// chooseAPI takes the API that the command line says, else the one by which the job was begun,
// else the Instance ID API, and notes it with the job.
func (j *job) chooseAPI(ctx context.Context, log *slog.Logger) error {
	f := j.options.service
	explicit := strings.TrimSuffix(f.api, apiAuto)
	name := cmp.Or(explicit, j.sink.API(), f.api, apiIID)
	if !j.options.asked.hasSuccessor() {
		name = apiIID
	}
	if name == apiAuto {
		found, err := j.service.findAPI(ctx, log)
		if err != nil {
			return err
		}
		name = found
	}
	if before := j.sink.API(); before != name {
		if before != "" {
			log.Info("the job continues with another API", "before", before, "now", name)
		}
		if err := j.sink.SetAPI(ctx, name); err != nil {
			return err
		}
	}
	if name == apiFCM {
		return j.takeSuccessor()
	}
	return nil
}

// manyCalls is the concurrency where a call carries one token.
const manyCalls = 256

// manyCalls is the concurrency of calls that carry one token.
func (f serviceFlags) manyCalls() int {
	if f.concurrencyGiven {
		return f.concurrency
	}
	return manyCalls
}

// takeSuccessor makes the job's calls those of the successor.
func (j *job) takeSuccessor() error {
	j.options.asked.small = true
	j.options.service.concurrency = j.options.service.manyCalls()
	client, err := j.service.openSuccessor()
	if err != nil {
		return err
	}
	j.service.take(fcm.Service{Client: client})
	return nil
}

// openSuccessor makes a client of the successor, at the address of the Instance ID API if that
// is a stand-in's. It calls nobody.
func (s *service) openSuccessor() (*fcmclient.Client, error) {
	if s.successor != nil {
		return s.successor, nil
	}
	if s.flags.serverKeyFile != "" {
		return nil, usagef("the FCM Topic Subscription API takes no server key: give --credentials instead of --server-key-file")
	}
	if s.flags.project == "" && s.credentialsProject == "" {
		return nil, usagef("the FCM Topic Subscription API needs the project, and the credential does not name it: give --project")
	}
	f := s.flags
	client, err := fcmclient.New(fcmclient.Config{
		Project:     cmp.Or(f.project, s.credentialsProject),
		Endpoint:    successorEndpoint(f.endpoint),
		AllowHTTP:   f.allowHTTP,
		Credential:  s.credential,
		Timeout:     f.timeout,
		Concurrency: f.manyCalls(),
		UserAgent:   "bulksub/" + version(),
	})
	if err != nil {
		return nil, &configError{err}
	}
	s.successor = client
	return client, nil
}

// successorEndpoint is where the successor is: a stand-in serves both APIs at one address.
func successorEndpoint(endpoint string) string {
	if endpoint == iidclient.DefaultEndpoint {
		return fcmclient.DefaultEndpoint
	}
	return endpoint
}

// findAPI asks each API about a token that does not exist, and says which it took and why: the
// Instance ID API as long as it answers, as its calls carry a thousand tokens.
func (s *service) findAPI(ctx context.Context, log *slog.Logger) (string, error) {
	_, iidErr := s.askIID(ctx)
	_, fcmErr := s.askFCM(ctx)
	switch {
	case iidErr == nil && fcmErr == nil:
		log.Info("both APIs answer; calls of "+apiNames[apiIID]+" carry 1,000 tokens", "api", apiIID)
		return apiIID, nil
	case iidErr == nil:
		log.Info(apiNames[apiIID]+" answers, and the other one does not", "api", apiIID, "err", fcmErr)
		return apiIID, nil
	case fcmErr == nil:
		log.Info(apiNames[apiFCM]+" answers, and the other one does not", "api", apiFCM, "err", iidErr)
		return apiFCM, nil
	}
	return "", fmt.Errorf("--api auto: neither API answers: %w; and %w", iidErr, fcmErr)
}

// askIID asks the Instance ID API a harmless question. date is its clock, if it said.
func (s *service) askIID(ctx context.Context) (date time.Time, err error) {
	known, err := s.client.Info(ctx, nobodysToken, false)
	if err == nil {
		return known.Date, nil
	}
	return harmless(err)
}

// askFCM asks the successor likewise.
func (s *service) askFCM(ctx context.Context) (date time.Time, err error) {
	client, err := s.openSuccessor()
	if err != nil {
		return date, err
	}
	list, err := client.List(ctx, nobodysToken)
	if err == nil {
		return list.Date, nil
	}
	return harmless(err)
}

// harmless is what is wrong after a question about nobody's token: that there is no such
// token is a word of the service itself, and so is a 404 in JSON that is not about the project.
func harmless(err error) (date time.Time, wrong error) {
	answer, ok := errors.AsType[*iidclient.StatusError](err)
	if !ok {
		return date, err
	}
	verdict, judged := errors.AsType[*iidclient.TokenError](err)
	missing := answer.Status == http.StatusNotFound && answer.Body == iidclient.BodyObject && !is[*fcmclient.ProjectError](err)
	if missing || judged && verdict.Code != iidclient.CodePermissionDenied {
		return answer.Date, nil
	}
	return answer.Date, err
}

// take makes calls go by another API.
func (s *service) take(successor fcm.Service) {
	s.calls, s.looks = successor, successor
	s.project = cmp.Or(s.flags.project, s.project)
}
