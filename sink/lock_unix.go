//go:build unix

package sink

import (
	"os"
	"syscall"
)

// lock takes the file for this process until it is closed, or fails at once if
// another process has it.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
