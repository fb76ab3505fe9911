package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os/exec"
	"syscall"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/internal/pgcluster"
	"github.com/bulksub/bulksub/internal/postgres"
	"github.com/bulksub/bulksub/migrations"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/sink"
	"github.com/bulksub/bulksub/sink/prune"
	"github.com/bulksub/bulksub/source"
)

// The exit codes.
const (
	exitDone          = 0
	exitFailedRows    = 3
	exitBrake         = 4
	exitUsage         = 64
	exitInput         = 65
	exitUnavailable   = 69
	exitBug           = 70
	exitHeld          = 75
	exitCredentials   = 77
	exitConfiguration = 78
	exitInterrupted   = 130
	exitTerminated    = 143
)

const exitCodeHelp = `Exit codes:
  0    every row has a final result (a rejected token is a result)
  3    done, but some rows failed: run the job again to retry just those
  4    a brake or a person (bulksub jobs cancel) stopped it: a person must look
  64   the command line is wrong, or asks an existing job for something else
  65   the input cannot be read
  69   the service, the database or the result file cannot be used now; what is recorded is safe, run again
  70   a bug
  75   another process holds the job; run again
  77   the credential was refused
  78   the configuration is wrong
  130  interrupted; 143 terminated: what was in flight is recorded, run again to continue`

// usageError is a command line that cannot be obeyed.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// configError is something around the program that must be put right.
type configError struct{ error }

func (e *configError) Unwrap() error { return e.error }

// bugError is a panic.
type bugError struct{ cause error }

func (e *bugError) Error() string {
	return "this is a bug in bulksub; what is recorded is safe, and the job can be run again. Please report it:\n" + e.cause.Error()
}

// errFailedRows is a job that is done and has rows to retry.
var errFailedRows = errors.New("some rows failed")

// report writes the error and returns the exit code. The summary has told of
// failed rows and of a drain already.
func report(w io.Writer, err error, s *signals) int {
	told := errors.Is(err, pipeline.ErrStopped)
	err = s.verdict(err)
	code := exitCode(err)
	if errors.Is(err, pipeline.ErrStopped) {
		code = s.exitCode()
	}
	advice := ""
	if code == exitUnavailable && !is[*pipeline.UnavailableError](err) {
		advice = "; what is recorded is safe, run the same command again"
	}
	if code != exitDone && code != exitFailedRows && !told {
		fmt.Fprintf(w, "bulksub: %v%s\n", err, advice)
	}
	return code
}

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	if end, ok := errors.AsType[*trouble](err); ok {
		return end.Exit
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errFailedRows):
		return exitFailedRows
	case is[*pipeline.ErrorBrakeError](err), is[*prune.BrakeError](err), is[*sink.SyncBrakeError](err), is[*sink.ClosedError](err), is[*verifyError](err):
		return exitBrake
	case is[*usageError](err), is[*sink.MismatchError](err), foreign(err), is[*iidclient.ArgumentError](err):
		return exitUsage
	case is[*source.InputError](err), is[*postgres.RelationError](err):
		return exitInput
	case is[*sink.HeldError](err), errors.Is(err, pipeline.ErrHeldElsewhere):
		return exitHeld
	case is[*configError](err), is[*migrations.PendingError](err), is[*migrations.NewerError](err), is[*postgres.URLError](err), is[*sink.RightsError](err), is[*sink.OtherServiceError](err),
		errors.Is(err, pgcluster.ErrNotInstalled), is[*exec.Error](err):
		return exitConfiguration
	case is[*bugError](err):
		return exitBug
	}
	return exitCodeOfCall(err)
}

// exitCodeOfCall is for what the service and the database say.
func exitCodeOfCall(err error) int {
	answer, answered := errors.AsType[*iidclient.StatusError](err)
	if outage, ok := errors.AsType[*pipeline.UnavailableError](err); ok {
		if outage.Alike && answered && answer.Status == http.StatusNotFound { // every call: it is about the project
			return exitConfiguration
		}
		return exitUnavailable
	}
	if credential, ok := errors.AsType[*iidclient.CredentialError](err); ok && credential.Final {
		if credential.Status == 0 {
			return exitConfiguration
		}
		return exitCredentials
	}
	if answered {
		switch {
		case answer.Status == http.StatusUnauthorized, answer.Status == http.StatusForbidden:
			return exitCredentials
		case answer.Status >= 300 && answer.Status < 500 && answer.Status != http.StatusTooManyRequests && answer.Status != http.StatusRequestTimeout:
			return exitConfiguration
		}
	}
	if is[*sink.ResultsError](err) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return exitConfiguration
	}
	if code := postgres.Code(err); code != "" && !postgres.Passes(err) {
		return exitConfiguration
	}
	return exitUnavailable
}

func foreign(err error) bool {
	file, ok := errors.AsType[*sink.ResultsError](err)
	return ok && file.Foreign
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
