//go:build unix

package sink

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the file for this process until it is closed. It reports at once
// whether another process has it.
func lock(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), err
}

// mayWrite reports why this process may not write to a file, or make one in a
// directory.
func mayWrite(name string) error {
	const write = 2 // W_OK
	return syscall.Access(name, write)
}
