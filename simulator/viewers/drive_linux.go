package viewers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// drive moves the bytes of a crowd until ctx ends. Orders are run between two
// rounds.
func drive(ctx context.Context, c *crowd, f *fetcher, orders <-chan func(*crowd)) error {
	for _, t := range c.plan.Targets {
		if t.TLS {
			return drivePortably(ctx, c, f, orders)
		}
	}
	d, err := newEpoll(c)
	if err != nil {
		return err
	}
	defer d.close()
	for ctx.Err() == nil {
		takeOrders(c, orders)
		f.serve(ctx, c)
		c.tick(time.Now())
		d.flush()
		d.dial()
		if err := d.wait(); err != nil {
			return err
		}
	}
	return nil
}

// epoll drives a crowd with one thread. It holds four bytes for each viewer.
type epoll struct {
	crowd   *crowd
	fd      int
	sockets []int32 // by seat; -1: none
	events  []unix.EpollEvent
	buffer  []byte
}

const (
	eventsAtOnce = 512
	dialsAtOnce  = 64 // between two looks at what came
	readBuffer   = 64 << 10
)

func newEpoll(c *crowd) (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("opening epoll: %w", err)
	}
	d := &epoll{
		crowd: c, fd: fd, sockets: make([]int32, len(c.seats)),
		events: make([]unix.EpollEvent, eventsAtOnce), buffer: make([]byte, readBuffer),
	}
	for i := range d.sockets {
		d.sockets[i] = -1
	}
	return d, nil
}

func (d *epoll) close() {
	for i, s := range d.sockets {
		if s >= 0 {
			_ = unix.Close(int(s)) // the process has done with it
			d.sockets[i] = -1
		}
	}
	_ = unix.Close(d.fd)
}

// dial begins the connections that are due.
func (d *epoll) dial() {
	for range dialsAtOnce {
		now := time.Now()
		i, t, from, ok := d.crowd.dial(now)
		if !ok {
			return
		}
		if err := d.open(i, t.Address, from); err != nil {
			d.end(i, err)
		}
	}
}

// open begins one connection. That it is there, or is not to be, comes as an
// event.
func (d *epoll) open(i int, to netip.AddrPort, from netip.Addr) error {
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	d.sockets[i] = int32(fd)
	if from.IsValid() {
		// The port is chosen when the target is known: then one address has
		// all its ports for each target.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("choosing a source address: %w", err)
		}
		if err := unix.Bind(fd, socketAddress(netip.AddrPortFrom(from, 0))); err != nil {
			return fmt.Errorf("choosing the source address %s: %w", from, err)
		}
	}
	// Edges are enough: every event is read until nothing is left.
	e := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(i), Pad: int32(d.crowd.seats[i].generation),
	}
	if err := unix.Connect(fd, socketAddress(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connecting: %w", err)
	}
	if err := unix.EpollCtl(d.fd, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	return nil
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// end closes a connection and tells the crowd why.
func (d *epoll) end(i int, why error) {
	if fd := d.sockets[i]; fd >= 0 {
		_ = unix.Close(int(fd)) // nothing is lost with it
		d.sockets[i] = -1
	}
	d.crowd.ended(i, why, time.Now())
}

// wait waits for events, or until something is due, and handles them.
func (d *epoll) wait() error {
	n, err := unix.EpollWait(d.fd, d.events, int((d.crowd.wait(time.Now())+time.Millisecond-1)/time.Millisecond))
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		return fmt.Errorf("waiting for events: %w", err)
	}
	for k := range d.events[:n] {
		e := &d.events[k]
		i := int(e.Fd)
		// An event of a socket that was closed meanwhile is of no interest.
		if d.sockets[i] >= 0 && d.crowd.seats[i].generation == uint32(e.Pad) {
			d.event(i, e.Events)
		}
	}
	return nil
}

func (d *epoll) event(i int, events uint32) {
	if d.crowd.seats[i].state == dialing {
		if err := d.connected(i); err != nil {
			d.end(i, err)
			return
		}
	}
	if events&^unix.EPOLLOUT != 0 {
		d.read(i)
	}
	d.flush()
}

func (d *epoll) connected(i int) error {
	fd := int(d.sockets[i])
	number, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	if number != 0 {
		return fmt.Errorf("connecting: %w", unix.Errno(number))
	}
	return d.write(i, d.crowd.connected(i))
}

// read takes in what a socket has.
func (d *epoll) read(i int) {
	for d.sockets[i] >= 0 {
		n, err := unix.Read(int(d.sockets[i]), d.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			d.end(i, err)
			return
		case n == 0:
			d.end(i, io.EOF)
			return
		}
		if err := d.crowd.received(i, d.buffer[:n], time.Now()); err != nil {
			d.flush() // a close frame may have come with a ping before it
			d.end(i, err)
			return
		}
		if n < len(d.buffer) {
			return // another edge comes with what comes, and with the end
		}
	}
}

// errFull is a peer that does not even take a request or a pong.
var errFull = errors.New("takes nothing")

func (d *epoll) write(i int, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := unix.Write(int(d.sockets[i]), b)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("writing: %w", err)
	}
	if n < len(b) {
		return errFull
	}
	return nil
}

// flush does what the crowd asked for.
func (d *epoll) flush() {
	c := d.crowd
	for len(c.answers) > 0 || len(c.closes) > 0 {
		answers, closes := c.answers, c.closes
		c.answers, c.closes = nil, nil
		for _, a := range answers {
			if d.sockets[a.seat] < 0 {
				continue
			}
			if err := d.write(a.seat, a.bytes); err != nil {
				d.end(a.seat, err)
			}
		}
		for _, e := range closes {
			if d.sockets[e.seat] >= 0 {
				d.end(e.seat, e.why)
			}
		}
	}
}
