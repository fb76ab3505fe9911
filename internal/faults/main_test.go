package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/bulksub/bulksub/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(built{pgtest.Runner{Tests: m}}) }

// built runs tests with the program on the PATH. It is built without the race detector, under which the tests of
// cmd/bulksub run it: here a run is killed hundreds of times, and most of its life is its start.
type built struct{ tests pgtest.Runner }

// atOnce is how many tests run at once: most of their time they wait for a time-out or a process.
const atOnce = "8"

// Run builds the program and runs the tests.
func (b built) Run() int {
	flag.Set("test.parallel", atOnce)
	dir, err := os.MkdirTemp("", "bulksub-faults-")
	if err == nil {
		defer os.RemoveAll(dir)
		os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
		build := exec.Command("go", "build", "-o", filepath.Join(dir, "bulksub"), "../../cmd/bulksub")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		return 1
	}
	return b.tests.Run()
}
