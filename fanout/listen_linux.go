package fanout

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// sharePort lets several sockets listen at one address: the kernel spreads
// connections over them.
func sharePort(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
		return fmt.Errorf("sharing a port: %w", e)
	}
	if err != nil {
		return fmt.Errorf("sharing a port: %w", err)
	}
	return nil
}
