package fanout

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"

	"tallystream/schemas"
)

// connection is one viewer's line as the pump sees it. This and what calls
// pump is the connection engine: another one (epoll instead of goroutines)
// replaces these and drives Session.Next by itself.
type connection interface {
	// send writes one frame, whole, or fails in bounded time.
	send(frame []byte) error
	// end tells the viewer why, if it can, and closes.
	end(code websocket.StatusCode, reason string)
}

// bell joins a session's wakes: the pump looks for everything each time.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// ending is why a connection ended.
type ending struct {
	code   websocket.StatusCode
	reason string // for the viewer and, as a label, for the metrics
}

var (
	endBye       = ending{websocket.StatusServiceRestart, "bye"}
	endSlow      = ending{CloseTooSlow, "too slow"}
	endBroken    = ending{websocket.StatusAbnormalClosure, "broken"} // no way to tell the viewer
	endIdle      = ending{CloseIdle, "idle"}
	endGone      = ending{websocket.StatusNormalClosure, "gone"} // the viewer went
	endBadFrame  = ending{CloseBadFrame, "bad frame"}
	endTooFast   = ending{CloseTooFast, "too fast"}
	endDocuments = ending{CloseTooManyDocuments, "too many documents"}
	endNotMedia  = ending{CloseNotAllowed, "not allowed"}
	endBinary    = ending{websocket.StatusUnsupportedData, "text frames only"}
)

// endingOf is how a refused subscription ends a connection.
func endingOf(err error) ending {
	switch {
	case errors.Is(err, ErrTooManyDocuments):
		return endDocuments
	case errors.Is(err, ErrNotMedia):
		return endNotMedia
	}
	return endBadFrame
}

// serve opens a session, and runs its pump and the reader until one of them
// says why it ends.
func (s *Server) serve(kind string, media bool, first *schemas.Subscribe, c connection, read func(context.Context, *Session) ending) {
	open := s.metrics.connections.WithLabelValues(kind)
	open.Inc()
	defer open.Dec()
	woken := newBell()
	session := s.hub.Open(SessionOptions{Media: media, Wake: woken.ring})
	defer session.Close()
	s.lateComer(session)
	var end ending
	if err := session.Subscribe(first); err != nil {
		end = endingOf(err)
		c.end(end.code, end.reason)
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
			c.end(end.code, end.reason)
			stop()
		})
	}
	var pumping sync.WaitGroup
	pumping.Go(func() { finish(s.pump(ctx, session, woken, c)) })
	finish(read(ctx, session))
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
			return endBye
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
func (s *Server) deliver(frame []byte, c connection) (ending, bool) {
	begun := s.now()
	if err := c.send(frame); err != nil {
		return endBroken, false
	}
	done := s.now()
	took := done.Sub(begun)
	s.metrics.frames.Inc()
	s.metrics.bytes.Add(float64(len(frame)))
	s.metrics.write.Observe(took.Seconds())
	if h, _, err := schemas.ReadDeltaHeader(frame); err == nil {
		s.metrics.toViewer.Observe(since(done, h.Micros))
	}
	if took > s.limits.SlowWrite {
		return endSlow, false
	}
	return ending{}, true
}

// since is the time from a clock reading in microseconds, in seconds; clocks
// of two machines may disagree.
func since(now time.Time, micros int64) float64 {
	return max(0, now.Sub(time.UnixMicro(micros)).Seconds())
}
