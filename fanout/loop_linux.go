package fanout

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// loop is one part of the engine: an epoll instance and the goroutine that
// waits on it. Events are hints: whatever one says, the socket is asked.
type loop struct {
	engine  *epoll
	server  *Server
	metrics *Metrics
	load    atomic.Int32 // connections, those that arrive included

	// The goroutine's.
	poll, bell int // epoll instance; eventfd that wakes it
	rest       *rest
	listeners  []*socketListener
	paused     bool      // the listeners are not polled until resume
	resume     time.Time // when they are again
	table      []*conn   // by descriptor
	now        time.Time // of this round
	serial     uint32    // of the newest connection
	begun      int       // handshakes
	turn       []*conn   // were woken
	served     int       // of turn
	rows       []*row    // were called and are not walked along to their end
	handings   []handing // of a step along one of them
	input      []byte    // what was read from a socket
	batch      []byte    // what goes to one in one write
	readers    [2]reader // without and with permessage-deflate
	request    *bufio.Reader
	sent       tally
	failed     error // why the loop cannot go on

	handshakes deadlines // for a whole request
	idles      deadlines // for the next look at a connection's signs of life
	stuck      deadlines // for a socket to take what it did not take at once
	leaving    deadlines // for the viewer to close its side

	mu       sync.Mutex // guards the rest
	woken    []*conn
	calls    []*row
	arriving []arrival
	cuts     []*conn // are to be cut off
	rung     bool    // bell has been rung and not been heard
	deaf     bool    // takes no more connections
	over     bool    // ends: what is left is cut off
	closed   bool    // ended
}

// arrival is a socket that was accepted for this loop.
type arrival struct {
	fd   int
	from netip.AddrPort
}

// Sizes and rates of a loop.
const (
	inputBytes   = 64 << 10
	batchBytes   = 64 << 10
	events       = 512
	turnLength   = 512                    // connections that are served between two looks at the sockets
	leastTurn    = 4096                   // connections that a list has room for, at least, once it had
	leastWait    = 5 * time.Millisecond   // deadlines that are this close to each other are met together
	resumeAfter  = 100 * time.Millisecond // listeners pause when nothing can be accepted
	idleLooks    = 4                      // looks at a connection during one idle timeout
	initialTable = 1024
)

func newLoop(e *epoll) (_ *loop, err error) {
	l := &loop{
		engine: e, server: e.server, metrics: e.server.metrics, poll: -1, bell: -1,
		input: make([]byte, inputBytes), batch: make([]byte, 0, batchBytes), table: make([]*conn, initialTable),
		request: bufio.NewReaderSize(nil, maxRequest),
	}
	limits := &e.server.limits
	l.handshakes.delay, l.stuck.delay, l.leaving.delay = limits.HandshakeTimeout, limits.WriteTimeout, limits.CloseTimeout
	l.idles.delay = limits.IdleTimeout / idleLooks
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("making an epoll instance: %w", err)
	}
	if l.bell, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("making an eventfd: %w", err)
	}
	for i := range l.readers {
		if l.readers[i], err = newReader(l, i == 1); err != nil {
			return nil, err
		}
	}
	if l.rest, err = newRest(l.poll); err != nil {
		return nil, err
	}
	return l, l.control(unix.EPOLL_CTL_ADD, l.bell, unix.EPOLLIN)
}

func (l *loop) control(op, fd int, events uint32) error {
	if err := unix.EpollCtl(l.poll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("polling descriptor %d: %w", fd, err)
	}
	return nil
}

// ring wakes the loop. mu is held.
func (l *loop) ring() {
	if l.rung || l.closed {
		return
	}
	l.rung = true
	// The counter of the eventfd cannot be full: it is read before rung is false.
	_, _ = unix.Write(l.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// wake puts a connection on the list of those that have something to take.
func (l *loop) wake(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = append(l.woken, c)
	l.ring()
}

// cutSoon makes the loop cut a connection off, if it is still there.
func (l *loop) cutSoon(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cuts = append(l.cuts, c)
	l.ring()
}

// run is the loop's goroutine. It returns when it was told that it is over.
func (l *loop) run() error {
	defer func() {
		l.cutOff()
		_ = l.close() // nothing can be done about it
	}()
	ready := make([]unix.EpollEvent, events)
	for {
		n, err := l.wait(ready)
		if err != nil {
			return err
		}
		l.now = l.server.now()
		for i := range max(n, 0) {
			l.event(int(ready[i].Fd), ready[i].Events)
			if l.failed != nil {
				return l.failed
			}
		}
		if over := l.hear(); over {
			return nil
		}
		l.walk()
		l.serveTurn()
		l.expire()
		l.sent.flush(l.metrics)
	}
}

func (l *loop) event(fd int, what uint32) {
	if fd == l.bell {
		var b [8]byte
		_, _ = unix.Read(l.bell, b[:]) // hear looks at what it stands for
		return
	}
	for _, s := range l.listeners {
		if s.fd == fd {
			l.accept(s)
			return
		}
	}
	c := l.at(fd)
	if c == nil {
		return // it was closed in this round
	}
	if what&unix.EPOLLOUT != 0 {
		l.writable(c)
	}
	if c.state != gone && what&^unix.EPOLLOUT != 0 {
		l.readable(c)
	}
}

func (l *loop) at(fd int) *conn {
	if fd >= len(l.table) {
		return nil
	}
	return l.table[fd]
}

// hear takes in what other goroutines said.
func (l *loop) hear() (over bool) {
	l.mu.Lock()
	l.rung = false
	arriving, cuts := l.arriving, l.cuts
	l.arriving, l.cuts = nil, nil
	if l.served == len(l.turn) {
		l.turn, l.woken, l.served = l.woken, l.turn[:0], 0 // the two lists take turns, too
	} else {
		l.turn = append(l.turn, l.woken...)
		clear(l.woken)
		l.woken = l.woken[:0]
	}
	l.hearCalls()
	deaf, over := l.deaf, l.over
	l.mu.Unlock()
	if deaf {
		l.stopListening()
	}
	for _, c := range cuts {
		l.cut(c, endRevoked)
	}
	for _, a := range arriving {
		l.begin(a)
	}
	return over
}

// serveTurn gives the next of those that were woken what there is for them.
func (l *loop) serveTurn() {
	end := min(l.served+turnLength, len(l.turn))
	for ; l.served < end; l.served++ {
		if l.served%64 == 63 {
			l.now = l.server.now()
		}
		if c := l.turn[l.served]; c.state == open && !c.blocked() {
			l.pump(c, nil)
		}
	}
	if l.served < len(l.turn) {
		return
	}
	clear(l.turn)
	l.turn, l.served = l.turn[:0], 0
	if cap(l.turn) > leastTurn && cap(l.turn) > 4*int(l.load.Load()) {
		l.turn = nil // a list for everybody is not kept when they have gone
	}
}

// wait asks for events; if there is nothing to do, it waits for them or for the
// next deadline.
func (l *loop) wait(ready []unix.EpollEvent) (int, error) {
	if l.busy() {
		return pollNow(l.poll, ready)
	}
	return l.rest.wait(ready, l.nextDeadline())
}

// busy reports whether there is something to do without an event.
func (l *loop) busy() bool { return l.served < len(l.turn) || len(l.rows) > 0 }

// nextDeadline is when something is due, or a little later; zero: nothing is.
func (l *loop) nextDeadline() time.Time {
	next, any := int64(0), false
	for _, d := range []*deadlines{&l.handshakes, &l.idles, &l.stuck, &l.leaving} {
		if at, ok := d.next(); ok && (!any || at < next) {
			next, any = at, true
		}
	}
	if l.paused && (!any || l.resume.UnixNano() < next) {
		next, any = l.resume.UnixNano(), true
	}
	if !any {
		return time.Time{}
	}
	// How long it is by the server's clock, which may be a test's.
	return time.Now().Add(max(time.Duration(next-l.server.now().UnixNano()), leastWait))
}

// expire does what is due.
func (l *loop) expire() {
	if l.paused && !l.now.Before(l.resume) {
		l.unpause()
	}
	for c := range l.dueOf(&l.handshakes) {
		if c.state == handshaking {
			l.refuseSlow(c)
		}
	}
	for c := range l.dueOf(&l.idles) {
		l.look(c)
	}
	for c := range l.dueOf(&l.stuck) {
		if c.blocked() && l.now.Sub(c.more.since) >= l.stuck.delay {
			l.cut(c, endBroken)
		}
	}
	for c := range l.dueOf(&l.leaving) {
		if c.state == closing || c.state == refused {
			l.drop(c)
		}
	}
}

// dueOf goes over the connections whose deadline has passed and that are
// still there.
func (l *loop) dueOf(d *deadlines) func(func(*conn) bool) {
	return func(yield func(*conn) bool) {
		for {
			e, ok := d.due(l.now)
			if !ok {
				return
			}
			if c := l.at(int(e.fd)); c != nil && c.serial == e.serial && !yield(c) {
				return
			}
		}
	}
}

// look ends a connection that gave no sign of life, or follows nothing, for too
// long.
func (l *loop) look(c *conn) {
	if c.state != open {
		return
	}
	limit, now := l.server.limits.IdleTimeout, l.now.UnixNano()
	if now-c.heard >= int64(limit) || now-c.opened >= int64(limit) && c.Documents() == 0 {
		l.end(c, endIdle)
		return
	}
	l.idles.push(l.now, c.fd, c.serial)
}

// cutOff ends everything that is left.
func (l *loop) cutOff() {
	l.stopListening()
	for _, c := range l.table {
		if c != nil {
			l.cut(c, endBroken)
		}
	}
	l.sent.flush(l.metrics)
}

func (l *loop) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	for _, a := range l.arriving {
		_ = unix.Close(a.fd) // nobody was told anything yet
	}
	l.arriving = nil
	var errs []error
	for _, s := range l.listeners {
		errs = append(errs, unix.Close(s.fd))
	}
	for i := range l.readers {
		l.readers[i].close()
	}
	if l.rest != nil {
		errs = append(errs, l.rest.close())
	}
	for _, fd := range []int{l.poll, l.bell} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// tally counts what was sent in a round, so that metrics are touched once.
type tally struct{ frames, bytes int }

func (t *tally) flush(m *Metrics) {
	if t.frames > 0 {
		m.frames.Add(float64(t.frames))
		m.bytes.Add(float64(t.bytes))
		*t = tally{}
	}
}
