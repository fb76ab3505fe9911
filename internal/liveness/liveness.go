// Package liveness tells whether a process that left its address in a database
// has died on this machine.
//
// An address names the host, for people, and the boot of the kernel, the process namespace, the process and
// when it was started, so that neither a reboot, a container that reuses a host's
// name, nor a reused process number can be taken for it. Where the answer is not
// certain, a process counts as alive.
package liveness

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Here is this process's address, or "" where the system does not tell.
func Here() string {
	place := namespace()
	self, err := process("self")
	if place == "" || err != nil {
		return ""
	}
	return host() + " " + place + " " + self
}

// host is this machine's name, or the pod's, in one word.
func host() string {
	name, _ := os.Hostname()
	return cmp.Or(strings.Join(strings.Fields(name), "-"), "unnamed")
}

// Dead reports whether the process with the address has certainly ended.
func Dead(address string) bool {
	_, address, _ = strings.Cut(address, " ")
	cut := strings.LastIndexByte(address, ' ')
	if cut < 0 || address[:cut] != namespace() {
		return false
	}
	before := address[cut+1:]
	number, _, _ := strings.Cut(before, "@")
	if id, err := strconv.Atoi(number); err != nil || id <= 0 {
		return false
	}
	now, err := process(number)
	return errors.Is(err, fs.ErrNotExist) || err == nil && now != before
}
