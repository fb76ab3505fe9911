package pgcluster

import "syscall"

// dieWithParent has the kernel stop the server when this process ends in any way, kill -9 included. What the kernel
// watches is the thread that started the server; Go ends a thread early only if a goroutine exits while locked to it.
func dieWithParent(attributes *syscall.SysProcAttr) {
	attributes.Pdeathsig = syscall.SIGQUIT
}
