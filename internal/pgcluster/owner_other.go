//go:build !unix

package pgcluster

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

var errNotUnix = errors.New("a throw-away PostgreSQL runs on Unix systems only: give the URL of a server instead")

type owner struct{}

func serverOwner() (owner, error)                  { return owner{}, errNotUnix }
func (owner) own(string) error                     { return errNotUnix }
func processAttributes(owner) *syscall.SysProcAttr { return nil }
func isOurs(fs.FileInfo) bool                      { return false }
func tryLock(string) (*os.File, error)             { return nil, errNotUnix }
