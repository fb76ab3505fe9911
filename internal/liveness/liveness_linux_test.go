package liveness

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const pPID, wNowait = 1, 0x01000000 // waitid(2)

// child starts a process that lives until it is killed, and returns its address.
func child(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	name, err := process(strconv.Itoa(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return cmd, "host " + namespace() + " " + name
}

func TestHereIsAlive(t *testing.T) {
	here := Here()
	if here == "" {
		t.Fatal("this system has /proc, and Here is empty")
	}
	if name, _ := os.Hostname(); !strings.HasPrefix(here, name+" ") {
		t.Errorf("%q does not begin with the host's name, %q", here, name)
	}
	if here != Here() {
		t.Errorf("the address changes: %q, %q", here, Here())
	}
	if Dead(here) {
		t.Errorf("Dead(%q) = true of this very process", here)
	}
}

func TestDeadOnceKilledAndOnceReaped(t *testing.T) {
	cmd, address := child(t)
	if Dead(address) {
		t.Fatalf("%q counts as dead while it runs", address)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(cmd.Process.Pid), 0, syscall.WEXITED|wNowait, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	if !Dead(address) {
		t.Errorf("%q counts as alive, though it was killed and only waits to be reaped", address)
	}
	cmd.Wait()
	if !Dead(address) {
		t.Errorf("%q counts as alive after it was reaped", address)
	}
}

func TestReusedNumberIsDead(t *testing.T) {
	if address := fmt.Sprintf("host %s %d@1", namespace(), os.Getpid()); !Dead(address) {
		t.Errorf("%q has this process's number and an earlier start, and counts as alive", address)
	}
}

func TestUncertainCountsAsAlive(t *testing.T) {
	gone, place := "2147483647@1", "host "+namespace()
	if !Dead(place + " " + gone) {
		t.Fatal("a number that no process can have counts as alive")
	}
	for _, address := range []string{
		"", " ", gone, " " + gone, "another-boot pid:[4026531836] " + gone, place, place + " ", place + "  " + gone,
		namespace() + " " + gone, place + " garbage", place + " garbage@1", place + " self", place + " -1@1", place + " 0@1", place + " @1", place + " ../1@1",
	} {
		if Dead(address) {
			t.Errorf("Dead(%q) = true, and nobody can know", address)
		}
	}
}

// A process that /proc does not show may be another user's.
func TestHiddenProcessIsNotDead(t *testing.T) {
	if !exists(strconv.Itoa(os.Getpid())) {
		t.Error("the kernel does not know this process")
	}
	if exists("2147483647") {
		t.Error("the kernel knows a process that cannot be")
	}
}
