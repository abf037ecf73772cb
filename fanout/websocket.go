package fanout

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"tallystream/schemas"
)

// live opens a WebSocket for one viewer. It returns once that is open, so that
// the request with its headers, buffers and deep stack is not kept for a night;
// one goroutine then reads and another writes.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	release, ok := s.admit(w, r)
	if !ok {
		return
	}
	first, err := subscriptionOf(r.URL.Query())
	if err != nil {
		release()
		s.metrics.refused.WithLabelValues("query").Inc()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	timed := &timedUpgrade{ResponseWriter: w, read: s.limits.IdleTimeout, write: s.limits.WriteTimeout}
	// The origin was checked by admit, in the same way as for events.
	ws, err := websocket.Accept(timed, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		release()
		s.metrics.refused.WithLabelValues("handshake").Inc()
		return // Accept has answered
	}
	ws.SetReadLimit(s.limits.FrameBytes)
	media := s.admission.media(r)
	go func() {
		defer release()
		s.serve("websocket", media, first, &socket{ws, s.limits.IdleTimeout}, func(ctx context.Context, session *Session) ending {
			return s.readFrames(ctx, ws, session)
		})
	}()
}

// readFrames reads what a viewer sends until it goes or breaks a rule.
func (s *Server) readFrames(ctx context.Context, ws *websocket.Conn, session *Session) ending {
	limit := rate.NewLimiter(rate.Limit(s.limits.FrameRate), int(4*s.limits.FrameRate)+1)
	for {
		kind, frame, err := ws.Read(ctx)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return endIdle
		case err != nil:
			return endGone
		case kind != websocket.MessageText:
			return endBinary
		case !limit.Allow():
			return endTooFast
		}
		if end, ok := take(frame, session); !ok {
			return end
		}
	}
}

// take does what a client's frame asks for.
func take(frame []byte, session *Session) (ending, bool) {
	sub, unsub, err := schemas.ParseClientFrame(frame)
	switch {
	case err != nil:
		return endBadFrame, false
	case unsub != nil:
		session.Unsubscribe(unsub.Documents)
	default:
		if err := session.Subscribe(sub); err != nil {
			return endingOf(err), false
		}
	}
	return ending{}, true
}

// socket is a connection over WebSocket.
type socket struct {
	ws   *websocket.Conn
	idle time.Duration
}

func (c *socket) send(frame []byte) error {
	// A context that can be cancelled costs more than the write itself: the
	// deadline is on the socket below instead.
	if err := c.ws.Write(context.Background(), websocket.MessageText, frame); err != nil {
		return fmt.Errorf("writing to a viewer: %w", err)
	}
	if kind, err := schemas.KindOfFrame(frame); err == nil && kind == schemas.FramePing {
		go c.ping()
	}
	return nil
}

// ping asks the viewer's side for a sign of life, which browsers give by
// themselves: it puts the idle timeout off. Frames of ours ask for no answer.
func (c *socket) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), c.idle)
	defer cancel()
	_ = c.ws.Ping(ctx) // without an answer the read deadline ends the connection
}

func (c *socket) end(code websocket.StatusCode, reason string) {
	if code == endBroken.code {
		_ = c.ws.CloseNow() // there is nobody to tell
		return
	}
	_ = c.ws.Close(code, reason) // the viewer may be gone: then nobody is told
}

// timedUpgrade hands out a connection whose reads and writes have deadlines.
type timedUpgrade struct {
	http.ResponseWriter
	read, write time.Duration
}

// Hijack implements http.Hijacker.
func (u *timedUpgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the connection: %w", err)
	}
	early, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("taking over the connection: %w", err), c.Close())
	}
	// The server's own buffers are larger than what a viewer's side needs.
	timed := &timedConn{c, bytes.Clone(early), u.read, u.write}
	return timed, bufio.NewReadWriter(bufio.NewReaderSize(timed, readBuffer), bufio.NewWriterSize(timed, writeBuffer)), nil
}

// Buffers of one connection. Frames above them are written without a copy.
const (
	readBuffer  = 512
	writeBuffer = 2 << 10
)

// timedConn sets a deadline before each read and write.
type timedConn struct {
	net.Conn
	early       []byte // came with the request; read first
	read, write time.Duration
}

func (c *timedConn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	if err := c.SetReadDeadline(time.Now().Add(c.read)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *timedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
