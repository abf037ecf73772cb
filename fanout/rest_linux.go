package fanout

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rest is how a loop waits: in the runtime's own poller, which watches the
// loop's epoll instance as it does a socket. A goroutine that blocks in
// epoll_wait keeps the runtime's monitor awake, every 20 us, to take its
// processor away: that was a fiftieth of all CPU.
type rest struct {
	file *os.File // a copy of the epoll instance's descriptor
	raw  syscall.RawConn
}

func newRest(poll int) (_ *rest, err error) {
	fd, err := unix.FcntlInt(uintptr(poll), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("copying an epoll instance: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // without it the runtime does not poll it
		return nil, errors.Join(fmt.Errorf("copying an epoll instance: %w", err), unix.Close(fd))
	}
	r := &rest{file: os.NewFile(uintptr(fd), "epoll")}
	if r.raw, err = r.file.SyscallConn(); err == nil {
		err = r.file.SetReadDeadline(time.Time{}) // fails for what the runtime cannot poll
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watching an epoll instance: %w", err), r.close())
	}
	return r, nil
}

// wait waits for events until a time, or for ever if that is zero. There may be
// none afterwards.
func (r *rest) wait(ready []unix.EpollEvent, until time.Time) (n int, err error) {
	if err := r.file.SetReadDeadline(until); err != nil {
		return 0, fmt.Errorf("waiting for sockets: %w", err)
	}
	late := r.raw.Read(func(fd uintptr) bool {
		n, err = pollNow(int(fd), ready)
		return n > 0 || err != nil
	})
	if late != nil && !errors.Is(late, os.ErrDeadlineExceeded) && err == nil {
		err = fmt.Errorf("waiting for sockets: %w", late)
	}
	return n, err
}

func (r *rest) close() error {
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("closing an epoll instance: %w", err)
	}
	return nil
}

// pollNow takes what events there are. It returns at once, so the scheduler is
// not told.
func pollNow(poll int, ready []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll), uintptr(unsafe.Pointer(unsafe.SliceData(ready))), uintptr(len(ready)), 0, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("waiting for sockets: %w", errno)
}
