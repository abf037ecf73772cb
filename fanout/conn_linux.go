package fanout

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tallystream/fanout/wire"
)

// conn is one connection of a loop, which owns it: about 200 bytes at rest,
// the session included.
type conn struct {
	Session // the hub's side, once it is open

	loop   *loop
	more   *more // what only some have, and only for a while; nil at rest
	opened int64 // nanoseconds since 1970
	heard  int64 // when something came last, likewise
	ticket ticket
	budget budget
	serial uint32 // tells it from the one that had the descriptor before
	fd     int32

	state   connState
	deflate bool
	inside  bool // the ticket is still to be given back
	joined  bool // the session is still to be closed
}

// more is what a connection has that is not at rest.
type more struct {
	handshake

	in wire.Input // of an open connection

	out   []byte    // is still to be written; a part of a shared frame, perhaps
	since time.Time // when its socket had no room
	after *ending   // close when out is written

	walk wire.Walk // of a closing connection
}

// connState is how far a connection is.
type connState uint8

const (
	handshaking connState = iota // its request is not whole
	open
	closing // a close frame was sent; the viewer's is awaited
	refused // a refusal was sent; the viewer's end is awaited
	gone
)

// Wake implements Waker.
func (c *conn) Wake() { c.loop.wake(c) }

// caller implements called.
func (c *conn) caller() caller { return c.loop }

// takes implements called.
func (c *conn) takes() bool { return c.state == open && !c.blocked() }

// blocked reports whether the socket has not taken everything yet.
func (c *conn) blocked() bool { return c.more != nil && len(c.more.out) > 0 }

// rare gives a connection room for what it rarely has.
func (c *conn) rare() *more {
	if c.more == nil {
		c.more = &more{}
	}
	return c.more
}

// rest gives that room back if nothing is in it.
func (c *conn) rest() {
	if m := c.more; m != nil && c.state == open && !m.in.Waiting() && len(m.out) == 0 && m.after == nil {
		c.more = nil
	}
}

// begin takes in a socket.
func (l *loop) begin(a arrival) {
	if l.now.IsZero() {
		l.now = l.server.now()
	}
	if err := l.control(unix.EPOLL_CTL_ADD, a.fd, unix.EPOLLIN); err != nil {
		_ = unix.Close(a.fd)
		l.load.Add(-1)
		return
	}
	for a.fd >= len(l.table) {
		l.table = append(l.table, make([]*conn, len(l.table))...)
	}
	l.serial++
	c := &conn{loop: l, fd: int32(a.fd), serial: l.serial, opened: l.now.UnixNano(), heard: l.now.UnixNano()}
	c.rare().from = a.from
	l.table[a.fd] = c
	l.begun++
	l.handshakes.push(l.now, c.fd, c.serial)
	l.bounded()
}

// bounded ends the oldest handshakes while there are too many: who means it
// is done in a round trip, so the old ones are not meant.
func (l *loop) bounded() {
	most := max(l.server.limits.Handshakes/len(l.engine.loops), 1)
	for l.begun > most {
		e, ok := l.handshakes.take()
		if !ok {
			return
		}
		if c := l.at(int(e.fd)); c != nil && c.serial == e.serial && c.state == handshaking {
			l.refuseSlow(c)
		}
	}
}

// pump writes what the session has for its viewer, after first, which may be
// nothing, until there is nothing left or the socket takes no more.
func (l *loop) pump(c *conn, first []byte) {
	for c.state == open && !c.blocked() {
		out, shared, err := l.gather(c, first)
		first = nil
		if len(out) > 0 {
			l.write(c, out, shared)
		}
		if err != nil {
			l.end(c, endingOfSession(err))
			return
		}
		if len(out) == 0 {
			return
		}
	}
}

// gather is what goes out in the next write: one frame as it is, or several
// that are there at once, in a row. Shared bytes are not changed by anybody;
// others are in the loop's buffer.
func (l *loop) gather(c *conn, first []byte) (out []byte, shared bool, err error) {
	out = append(l.batch[:0], first...)
	for len(out) < batchBytes {
		frame, err := c.Next()
		if err != nil || frame == nil {
			return out, shared, err
		}
		b := frame.Wire(c.deflate)
		l.count(frame, len(b))
		switch {
		case len(out) == 0:
			out, shared = b, true
		case shared:
			out, shared = append(append(l.batch[:0], out...), b...), false
		default:
			out = append(out, b...)
		}
	}
	return out, shared, nil
}

func (l *loop) count(f *Frame, bytes int) {
	l.sent.frames++
	l.sent.bytes += bytes
	if f.micros > 0 {
		l.metrics.toViewer.Observe(since(l.now, f.micros))
	}
}

// write writes b, and keeps what the socket does not take. Whole frames go out
// or none: what follows waits behind the rest.
func (l *loop) write(c *conn, b []byte, shared bool) {
	if c.state == gone {
		return
	}
	if c.blocked() {
		c.more.out = append(c.more.out[:len(c.more.out):len(c.more.out)], b...)
		return
	}
	n, err := send(c.fd, b)
	if err != nil {
		l.cut(c, endBroken)
		return
	}
	if n == len(b) {
		return
	}
	left := b[n:]
	if !shared {
		left = append([]byte(nil), left...)
	}
	m := c.rare()
	m.out, m.since = left, l.now
	l.stuck.push(l.now, c.fd, c.serial)
	l.pollFor(c, unix.EPOLLIN|unix.EPOLLOUT)
}

// pollFor says which events of a connection matter.
func (l *loop) pollFor(c *conn, what uint32) {
	if err := l.control(unix.EPOLL_CTL_MOD, int(c.fd), what); err != nil {
		l.cut(c, endBroken)
	}
}

// writable goes on with what the socket had not taken.
func (l *loop) writable(c *conn) {
	if !c.blocked() {
		return
	}
	m := c.more
	n, err := send(c.fd, m.out)
	if err != nil {
		l.cut(c, endBroken)
		return
	}
	if m.out = m.out[n:]; len(m.out) > 0 {
		return
	}
	m.out = nil
	took := l.now.Sub(m.since)
	l.metrics.write.Observe(took.Seconds())
	l.pollFor(c, unix.EPOLLIN)
	switch {
	case m.after != nil && c.state != gone:
		l.finish(c)
	case c.state == open && took > l.server.limits.SlowWrite:
		l.end(c, endSlow)
	case c.state == open:
		c.rest()
		l.pump(c, nil)
	}
}

// send writes what the socket takes of b; 0 if it takes nothing now.
//
// It is send(2): write(2) looks at the file's rights and watchers first, which a
// socket does not have; that shows only where others use the caches. It returns
// at once, so the scheduler is not told, as it would be by unix.Write: that is a
// twentieth of a small write.
func send(fd int32, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// readable reads what came.
func (l *loop) readable(c *conn) {
	n, err := unix.Read(int(c.fd), l.input)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return // an event is a hint
	case err != nil || n == 0:
		l.cut(c, endGone)
		return
	}
	c.heard = l.now.UnixNano()
	switch c.state {
	case handshaking:
		l.shake(c, l.input[:n])
	case open:
		l.hearFrom(c, l.input[:n])
	case closing:
		if _, _ = c.rare().walk.Take(l.input[:n], nil); c.more.walk.Closed() { // without rules there is no error
			l.drop(c)
		}
	}
}

// end tells the viewer why, and waits for it to close its side: closing at
// once would take back what was written.
func (l *loop) end(c *conn, why ending) {
	if c.state != open {
		return
	}
	l.quit(c, why)
	l.write(c, wire.AppendClose(nil, int(why.code), why.reason), false)
	l.linger(c)
}

// linger waits for the viewer's close frame.
func (l *loop) linger(c *conn) {
	if c.state != open {
		return // the write failed
	}
	c.state = closing
	l.leaving.push(l.now, c.fd, c.serial)
}

// quit ends the session of an open connection.
func (l *loop) quit(c *conn, why ending) {
	if c.joined {
		c.joined = false
		c.Close()
		l.metrics.connections.WithLabelValues("websocket").Dec()
		l.metrics.closed.WithLabelValues(why.reason).Inc()
	}
}

// finish closes a connection to which all was said.
func (l *loop) finish(c *conn) {
	l.quit(c, *c.more.after)
	l.drop(c)
}

// cut ends a connection without a word.
func (l *loop) cut(c *conn, why ending) {
	l.quit(c, why)
	if c.blocked() {
		// What the kernel still holds for the viewer is thrown away, too.
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	l.drop(c)
}

// drop closes the socket.
func (l *loop) drop(c *conn) {
	if c.state == gone {
		return
	}
	l.release(c)
	_ = unix.Close(int(c.fd)) // nothing can be done about it
}

// release lets go of a connection, whose descriptor is somebody else's then.
func (l *loop) release(c *conn) {
	if c.state == handshaking {
		l.begun--
	}
	l.quit(c, endGone)
	c.state, c.more = gone, nil
	l.table[c.fd] = nil
	l.load.Add(-1)
	if c.inside {
		c.inside = false
		l.server.admission.leave(c.ticket)
	}
}
