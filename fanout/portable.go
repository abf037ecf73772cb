package fanout

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// connection is one viewer's line in the portable engine, which runs two
// goroutines for each: one reads, one writes.
type connection interface {
	// send writes one frame, whole, or fails in bounded time.
	send(frame *Frame) error
	// end tells the viewer why, if it can, and closes, now or when linger
	// returns.
	end(why ending)
	// linger waits for the viewer to close its side, in bounded time.
	linger()
}

// bell joins a session's wakes: the pump looks for everything each time.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

// Wake implements Waker.
func (b bell) Wake() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// live opens a WebSocket for one viewer. It returns once that is open, so that
// the request with its headers, buffers and deep stack is not kept for a night.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	c := &socket{server: s}
	o, ok := s.open(&upgrade{w, c}, r)
	if !ok {
		return
	}
	c.deflate = o.deflate
	o.ws.SetReadLimit(s.limits.FrameBytes)
	go func() {
		s.converse("websocket", o, c, func(_ context.Context, session *Session) ending { return c.read(o.ws, session) })
		_ = o.ws.CloseNow() // lets go of what it holds; the connection is closed
	}()
}

// converse runs a connection until it ends.
func (s *Server) converse(kind string, o *opening, c connection, read func(context.Context, *Session) ending) {
	defer s.admission.leave(o.ticket)
	open := s.metrics.connections.WithLabelValues(kind)
	open.Inc()
	defer open.Dec()
	woken, session := newBell(), &Session{}
	defer session.Close()
	var end ending
	if err := s.greet(session, o, woken, func() { c.end(endBroken) }); err != nil {
		end = endingOf(err)
		c.end(end)
		c.linger()
	} else {
		end = s.both(session, woken, c, read)
	}
	s.metrics.closed.WithLabelValues(end.reason).Inc()
}

// both runs the two directions. Whichever ends first gives the reason and
// closes the connection, which ends the other.
func (s *Server) both(session *Session, woken bell, c connection, read func(context.Context, *Session) ending) ending {
	ctx, stop := context.WithCancel(s.cut)
	defer stop()
	var once sync.Once
	var why ending
	finish := func(end ending) {
		once.Do(func() {
			why = end
			c.end(end)
			stop()
		})
	}
	unhook := context.AfterFunc(s.cut, func() { c.end(endBroken) })
	defer unhook()
	var pumping sync.WaitGroup
	pumping.Go(func() { finish(s.pump(ctx, session, woken, c)) })
	finish(read(ctx, session))
	c.linger()
	pumping.Wait()
	return why
}

// pump moves frames from the session to the viewer until ctx ends or the
// connection must: it says why, and closes nothing.
func (s *Server) pump(ctx context.Context, session *Session, woken bell, c connection) ending {
	opened := s.now()
	for {
		frame, err := session.Next()
		switch {
		case err != nil:
			return endingOfSession(err)
		case frame != nil:
			if end, ok := s.deliver(frame, c); !ok {
				return end
			}
			if session.Documents() == 0 && s.now().Sub(opened) > s.limits.IdleTimeout {
				return endIdle // pings alone keep nobody here
			}
		default:
			select {
			case <-ctx.Done():
				return endGone
			case <-woken:
			}
		}
	}
}

// deliver writes one frame and measures it. A viewer that takes a frame, but
// slowly, can still be told why it is cut off; one that takes nothing cannot.
func (s *Server) deliver(frame *Frame, c connection) (ending, bool) {
	begun := s.now()
	if err := c.send(frame); err != nil {
		return endBroken, false
	}
	done := s.now()
	took := done.Sub(begun)
	s.metrics.frames.Inc()
	s.metrics.bytes.Add(float64(len(frame.Text())))
	if took > waited {
		s.metrics.write.Observe(took.Seconds())
	}
	if frame.micros > 0 {
		s.metrics.toViewer.Observe(since(done, frame.micros))
	}
	if took > s.limits.SlowWrite {
		return endSlow, false
	}
	return ending{}, true
}

// waited is how long a write takes, at least, whose socket had no room.
const waited = time.Millisecond

// since is the time from a clock reading in microseconds, in seconds; clocks
// of two machines may disagree.
func since(now time.Time, micros int64) float64 {
	return max(0, now.Sub(time.UnixMicro(micros)).Seconds())
}
