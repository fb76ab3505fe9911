package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulksub/bulksub/iidclient/iidtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// build builds the program as another release, and returns its path.
func build(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bulksub-"+version)
	out, err := exec.Command("go", "build", "-ldflags", "-X main.stamped="+version, "-o", path, "../../cmd/bulksub").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if said, err := exec.Command(path, "--version").CombinedOutput(); err != nil || !strings.Contains(string(said), version) {
		t.Fatalf("%v: this is no other release: %s", err, said)
	}
	return path
}

// F10: a job that one release has begun and another goes on with, from a table and from a file, whichever was first. They are one
// source with two stamps: what is kept must not depend on which build it was. The second refuses what would make it another job, as the first would.
func TestTwoReleases(t *testing.T) {
	t.Parallel()
	releases := []string{build(t, "v1.0.0"), build(t, "v9.9.9")}
	for i, name := range []string{"upgrade", "downgrade"} {
		first, second := releases[i], releases[1-i]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, trial.Mixed)
			begin(t, s.Program, first, s.args()...)
			s.Binary = second
			if code, last := s.Run(s.args("--topic", "sport")...); code != 64 || !strings.Contains(last.Words, "topic") {
				t.Errorf("another topic: ended with %d: %s", code, last.Words)
			}
			s.finish()
		})
		t.Run(name+" with a file", func(t *testing.T) {
			t.Parallel()
			s := newFileScene(t, iidtest.Config{Fates: trial.Mixed.Fate}, 3000)
			begin(t, s.Program, first, s.args()...)
			s.Binary = second
			if code, last := s.Run(s.args("--topic", "sport")...); code != 64 || !strings.Contains(last.Words, "topic") {
				t.Errorf("another topic: ended with %d: %s", code, last.Words)
			}
			s.finish(trial.Mixed)
		})
	}
}

// begin has a release begin a job, and kills it at its fifth call.
func begin(t *testing.T, p *trial.Program, release string, args ...string) {
	t.Helper()
	p.Binary = release
	p.At(5, func(it *os.Process) { it.Kill() })
	if code, last := p.Run(args...); code != trial.Killed {
		t.Fatalf("the first release ended with %d, and was not killed: this proves nothing: %s", code, last.Words)
	}
	p.At(0, nil)
}
