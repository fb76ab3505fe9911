package pgtest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package, stops the server if one was started, fails the package if goroutines are left, and
// exits. It is the last thing that a TestMain does.
func Main(m *testing.M) { goleak.VerifyTestMain(Runner{m}) }

// Runner runs tests as [Main] does but leaves the leak check and the exit to its caller, for a TestMain that must hand
// its runner to another package (testscript).
type Runner struct {
	Tests interface{ Run() int }
}

// Run runs the tests and returns their exit code once the server has stopped.
func (r Runner) Run() int {
	code := r.Tests.Run()
	if running != nil {
		running.stop()
	}
	return code
}
