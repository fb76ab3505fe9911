//go:build prometheus || kubernetes

package main

import (
	"bytes"
	"os/exec"
	"testing"
	"time"
)

// serverPatience is how long the other programs of a test may take for anything.
const serverPatience = 2 * time.Minute

// startServer runs a program until the test ends, and returns when it is ready.
func startServer(t *testing.T, ready func() bool, name string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; the make target of this test installs or builds it", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said at last:\n%s", name, said.Bytes()[max(0, said.Len()-2000):])
		}
	})
	if !eventually(ready) {
		t.Fatalf("%s does not begin", name)
	}
}

// eventually asks ten times a second. It reports whether the answer was yes in the end.
func eventually(yes func() bool) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(serverPatience); time.Now().Before(end); <-tick.C {
		if yes() {
			return true
		}
	}
	return false
}
