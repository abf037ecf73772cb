//go:build !linux

package fanout

import (
	"errors"
	"syscall"
)

// sharePort is for Linux: elsewhere the option means other things.
func sharePort(_, _ string, _ syscall.RawConn) error {
	return errors.New("sharing a port needs Linux")
}
