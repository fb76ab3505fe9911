package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// nobodysToken is what the service is asked about: to read about a token changes
// nothing, and no device has this one.
const nobodysToken = "dead-token-that-bulksub-doctor-asks-about"

func (d *doctor) checkService(ctx context.Context) {
	var s *service
	d.check(ctx, "credential", func(ctx context.Context) (string, error) {
		opened, err := openService(ctx, d.options)
		if err != nil {
			return "", err
		}
		s = opened
		if d.options.service.serverKeyFile != "" {
			return "a server key was read", nil
		}
		return "an access token was given, for " + s.project, s.warm(ctx)
	})
	var said time.Time
	d.check(ctx, "service", func(ctx context.Context) (string, error) {
		if s == nil {
			return "", skippedError{"nothing can be asked without the credential"}
		}
		began := time.Now()
		answers, date, err := s.ask(ctx, d.options.service.api)
		said = date
		return fmt.Sprintf("%s, within %v", answers, time.Since(began).Round(time.Millisecond)), err
	})
	d.check(ctx, "its clock", func(context.Context) (string, error) {
		if said.IsZero() {
			return "", skippedError{"the service did not say what time it is"}
		}
		return agreeing("the service", said, time.Now())
	})
	if s != nil {
		s.close()
	}
}

// ask asks the harmless question, by the API that a job would take. date is the service's
// clock, if it said.
func (s *service) ask(ctx context.Context, api string) (answers string, date time.Time, err error) {
	taken := ""
	if api == apiAuto {
		taken = ", and --api auto takes it"
		if api, err = s.findAPI(ctx, slog.New(slog.DiscardHandler)); err != nil {
			return "", date, err
		}
	}
	if api == apiFCM {
		date, err = s.askFCM(ctx)
		return apiNames[api] + " at " + successorEndpoint(s.flags.endpoint) + " answers" + taken, date, err
	}
	date, err = s.askIID(ctx)
	switch exitCode(err) {
	case exitCredentials:
		err = fmt.Errorf("%w; the credential is not accepted: enable the API in its project, and use the app's own service account", err)
	case exitConfiguration:
		err = fmt.Errorf("%w; no such API at this address: see --endpoint (Google switches the API off on 2027-09-29)", err)
	}
	return apiNames[apiIID] + " at " + s.flags.endpoint + " answers" + taken, date, err
}

// clockTolerance is how far two clocks may be apart: an access token is refused at
// five minutes.
const clockTolerance = time.Minute

// agreeing compares a clock with this machine's.
func agreeing(whose string, theirs, ours time.Time) (string, error) {
	ahead := ours.Sub(theirs).Round(time.Second)
	switch {
	case ahead > clockTolerance:
		return "", &configError{fmt.Errorf("this machine's clock is %v ahead of that of %s; set it, or have NTP set it", ahead, whose)}
	case ahead < -clockTolerance:
		return "", &configError{fmt.Errorf("this machine's clock is %v behind that of %s; set it, or have NTP set it", -ahead, whose)}
	}
	return fmt.Sprintf("this machine and %s agree to within %v", whose, max(ahead.Abs(), time.Second)), nil
}
