//go:build unix && !linux

package pgcluster

import "syscall"

// dieWithParent does nothing: there is no such service here, so an orphan lives until its directory is swept.
func dieWithParent(*syscall.SysProcAttr) {}
