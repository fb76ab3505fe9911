package liveness

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// namespace names where a process number means something.
func namespace() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + space
}

// startField is the place of the start time among the fields of proc(5)'s stat
// that follow the name, which is in parentheses and may hold anything.
const startField = 22 - 3

// process names a running process: its number and when it was started. The error
// is [fs.ErrNotExist] if it has ended.
func process(id string) (string, error) {
	stat, err := os.ReadFile("/proc/" + id + "/stat")
	if errors.Is(err, fs.ErrNotExist) && exists(id) {
		return "", fs.ErrPermission
	}
	if err != nil {
		return "", err
	}
	number, _, _ := strings.Cut(string(stat), " ")
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) <= startField {
		return "", errors.New("proc stat has an unknown shape")
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return "", fs.ErrNotExist // killed, and only waiting for its parent to notice
	}
	return number + "@" + fields[startField], nil
}

// exists asks the kernel, for /proc may hide the processes of other users
// (hidepid).
func exists(id string) bool {
	number, err := strconv.Atoi(id)
	return err == nil && syscall.Kill(number, 0) != syscall.ESRCH
}
