package fanout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tallystream/service"
)

// epoll is the engine for Linux. Each of a few loops owns a part of the
// connections: only its goroutine touches their sockets and their state, so
// those have no locks. Sessions wake a loop by naming a connection; everything
// else that a loop does is read from its sockets and its clock.
type epoll struct {
	server *Server
	loops  []*loop
	pages  *handover

	// accept4 is the system call; tests let it fail.
	accept4 func(fd int) (int, unix.Sockaddr, error)

	spareMu sync.Mutex // guards spare
	spare   int        // a descriptor kept for the time when there is no other; -1: none
}

// serveEpoll runs the engine until ctx ends and nobody is left.
func (s *Server) serveEpoll(ctx context.Context, pages http.Handler, listeners []net.Listener) error {
	e, err := newEpoll(s, listeners)
	if err != nil {
		return err
	}
	return e.serve(ctx, pages)
}

func newEpoll(s *Server, listeners []net.Listener) (_ *epoll, err error) {
	if len(listeners) == 0 {
		return nil, errors.New("serving viewers: no listener")
	}
	e := &epoll{server: s, pages: newHandover(s.limits.PageConnections, listeners[0].Addr()), accept4: acceptSocket}
	if e.spare, err = openSpare(); err != nil {
		return nil, err
	}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(e)
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.loops = append(e.loops, l)
	}
	for i, l := range listeners {
		if err := e.loops[i%len(e.loops)].listen(l); err != nil {
			return nil, errors.Join(err, e.close())
		}
	}
	return e, nil
}

func (e *epoll) serve(ctx context.Context, pages http.Handler) (err error) {
	defer func() { err = errors.Join(err, e.close()) }()
	s := e.server
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return service.Serve(ctx, e.pages, pages) })
	for _, l := range e.loops {
		g.Go(l.run)
	}
	// Draining ends by cutting off whoever has not gone.
	unhook := context.AfterFunc(s.cut, func() { e.tell(func(l *loop) { l.over = true }) })
	defer unhook()
	g.Go(func() error {
		<-ctx.Done()
		e.tell(func(l *loop) { l.deaf = true })
		s.drain()
		return nil
	})
	return g.Wait()
}

// tell changes what loops do. set is called with the loop's lock held.
func (e *epoll) tell(set func(*loop)) {
	for _, l := range e.loops {
		l.mu.Lock()
		set(l)
		l.ring()
		l.mu.Unlock()
	}
}

func (e *epoll) close() error {
	errs := []error{e.closeSpare()}
	for _, l := range e.loops {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

// place gives a new socket to the loop that has the fewest.
func (e *epoll) place(a arrival) {
	to := e.loops[0]
	for _, l := range e.loops[1:] {
		if l.load.Load() < to.load.Load() {
			to = l
		}
	}
	to.load.Add(1)
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.closed {
		_ = unix.Close(a.fd) // the engine ends; there is nobody to tell
		return
	}
	to.arriving = append(to.arriving, a)
	to.ring()
}

// openSpare opens a descriptor that is good for nothing but to be closed.
func openSpare() (int, error) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening a spare descriptor: %w", err)
	}
	return fd, nil
}

func (e *epoll) closeSpare() error {
	e.spareMu.Lock()
	defer e.spareMu.Unlock()
	if e.spare < 0 {
		return nil
	}
	fd := e.spare
	e.spare = -1
	return unix.Close(fd)
}
