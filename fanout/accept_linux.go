package fanout

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// socketListener is a listening socket of a loop.
type socketListener struct{ fd int }

// acceptBurst is how many connections are taken at once from one listener.
const acceptBurst = 64

// listen takes over a listener, which is closed.
func (l *loop) listen(from net.Listener) error {
	tcp, ok := from.(*net.TCPListener)
	if !ok {
		return fmt.Errorf("listening with epoll: %T is no TCP listener", from)
	}
	file, err := tcp.File() // a copy of the descriptor
	if err != nil {
		return fmt.Errorf("listening with epoll: %w", err)
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("listening with epoll: %w", err)
	}
	l.listeners = append(l.listeners, &socketListener{fd}) // closed by close
	// Accepted sockets inherit the option: one call for all instead of one for each.
	if err := errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.SetNonblock(fd, true), tcp.Close()); err != nil {
		return fmt.Errorf("listening with epoll: %w", err)
	}
	return l.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

// stopListening takes those who knocked already, and then nobody.
func (l *loop) stopListening() {
	for _, s := range l.listeners {
		l.accept(s)
		_ = unix.Close(s.fd) // nothing can be done about it
	}
	l.listeners = nil
}

func acceptSocket(fd int) (int, unix.Sockaddr, error) {
	return unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

func (l *loop) accept(s *socketListener) {
	for range acceptBurst {
		fd, from, err := l.engine.accept4(s.fd)
		switch {
		case err == nil:
			l.welcome(arrival{fd, addressOf(from)})
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		case errors.Is(err, unix.EAGAIN):
			return
		default: // no descriptor or no memory left
			if !l.engine.turnAway(s.fd) {
				l.metrics.exhausted.WithLabelValues("paused").Inc()
				l.pause()
				return
			}
			l.metrics.exhausted.WithLabelValues("refused").Inc()
		}
	}
}

// welcome takes a socket in, unless its address comes too often.
func (l *loop) welcome(a arrival) {
	if l.server.countsArrivals() && !l.server.arrivals.allow(networkOf(a.from.Addr()), l.now) {
		l.metrics.refused.WithLabelValues(tooOften.reason).Inc()
		_, _ = unix.Write(a.fd, []byte(tooOftenAnswer)) // a courtesy
		_ = unix.Close(a.fd)
		return
	}
	l.engine.place(a)
}

func addressOf(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// fullAnswer is for those for whom there is no descriptor.
const fullAnswer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// tooOftenAnswer is for addresses that connect too often.
const tooOftenAnswer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 10\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// turnAway takes the next connection with the spare descriptor and tells it to
// come back later: otherwise it would wait in the kernel's queue, and the
// listener would be ready for ever. False: there is no spare one.
func (e *epoll) turnAway(listener int) bool {
	e.spareMu.Lock()
	defer e.spareMu.Unlock()
	if e.spare < 0 {
		e.spare, _ = openSpare() // perhaps there is one by now, for the next time
		return false
	}
	_ = unix.Close(e.spare)
	e.spare = -1
	fd, _, err := e.accept4(listener)
	if err == nil {
		_, _ = unix.Write(fd, []byte(fullAnswer)) // a courtesy
		_ = unix.Close(fd)
	}
	e.spare, _ = openSpare()
	return err == nil && e.spare >= 0
}

// pause stops polling the listeners for a moment: they would only say again
// that somebody waits.
func (l *loop) pause() {
	if l.paused {
		return
	}
	l.paused, l.resume = true, l.now.Add(resumeAfter)
	for _, s := range l.listeners {
		_ = l.control(unix.EPOLL_CTL_MOD, s.fd, 0) // it is polled: nothing can be wrong with it
	}
}

func (l *loop) unpause() {
	l.paused = false
	for _, s := range l.listeners {
		_ = l.control(unix.EPOLL_CTL_MOD, s.fd, unix.EPOLLIN)
	}
}
