package fanout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"tallystream/fanout/wire"
)

// socket is a WebSocket of the portable engine. coder/websocket reads from it,
// and writes its answers to pings and closes through it; shared frames are
// written past that, whole. Every byte that comes in is held to the wire's
// rules before it is read.
type socket struct {
	net.Conn
	server  *Server
	deflate bool

	mu     sync.Mutex // guards the rest of the writer, and both deadlines; held while writing
	closed int        // code of the close frame that was sent; 0: none

	// The reader's.
	early  []byte // came with the request; read first
	walk   wire.Walk
	budget budget
	broke  error  // the rule that was broken
	after  []byte // what came from there on
	failed error  // of the network
}

// upgrade hands a socket to coder/websocket instead of the connection.
type upgrade struct {
	http.ResponseWriter
	socket *socket
}

// Hijack implements http.Hijacker.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the connection: %w", err)
	}
	s := u.socket
	s.Conn = c
	if s.early, err = unread(buffered.Reader); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	// The request's deadlines are not the connection's.
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("taking over the connection: %w", err), c.Close())
	}
	// The server's own buffers are larger than what a viewer's side needs.
	return s, bufio.NewReadWriter(bufio.NewReaderSize(s, readBuffer), bufio.NewWriterSize(s, writeBuffer)), nil
}

// Read implements net.Conn for coder/websocket.
func (c *socket) Read(b []byte) (int, error) {
	if c.broke != nil {
		return 0, c.broke
	}
	n, err := c.receive(b)
	if err != nil {
		c.failed = err
		return n, err
	}
	good, err := c.walk.Take(b[:n], c.rules())
	if err != nil {
		c.broke, c.after = err, append([]byte(nil), b[good:n]...)
		if good == 0 {
			return 0, c.broke
		}
	}
	return good, nil
}

// rules are those for what comes now; none for what comes after we closed.
func (c *socket) rules() *wire.Rules {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != 0 {
		return nil
	}
	l := &c.server.limits
	return &wire.Rules{
		MaxMessage: uint64(l.FrameBytes),
		Allow:      func() bool { return c.budget.allow(c.server.now(), l.FrameRate) },
	}
}

// receive reads bytes as they come.
func (c *socket) receive(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	c.mu.Lock()
	if c.closed == 0 { // else the deadline stands
		if err := c.SetReadDeadline(time.Now().Add(c.server.limits.IdleTimeout)); err != nil {
			c.mu.Unlock()
			return 0, err
		}
	}
	c.mu.Unlock()
	return c.Conn.Read(b)
}

// Write implements net.Conn for coder/websocket, which writes one control
// frame at a time.
func (c *socket) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != 0 {
		return len(b), nil // nothing follows a close frame
	}
	if err := c.write(wire.CheckedClose(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// write writes whole frames. mu is held.
func (c *socket) write(b []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(c.server.limits.WriteTimeout)); err != nil {
		return fmt.Errorf("writing to a viewer: %w", err)
	}
	if code, _, ok := wire.CloseOf(b); ok {
		c.closed = code
		if err := c.SetReadDeadline(time.Now().Add(c.server.limits.CloseTimeout)); err != nil {
			return fmt.Errorf("writing to a viewer: %w", err)
		}
	}
	if _, err := c.Conn.Write(b); err != nil {
		return fmt.Errorf("writing to a viewer: %w", err)
	}
	return nil
}

func (c *socket) send(frame *Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != 0 {
		return net.ErrClosed
	}
	return c.write(frame.Wire(c.deflate))
}

func (c *socket) end(why ending) {
	if why == endBroken || why == endGone {
		_ = c.Close() // there is nobody to tell
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == 0 {
		_ = c.write(wire.AppendClose(nil, int(why.code), why.reason)) // the viewer may be gone: then nobody is told
	}
}

// linger reads on until the viewer's close frame, the deadline that was set
// with ours, or the end: closing before would take our close frame back.
func (c *socket) linger() {
	defer c.Close()
	if c.broke != nil {
		_, _ = c.walk.Take(c.after, nil) // without rules there is no error
	}
	b := make([]byte, 1024)
	for !c.walk.Closed() {
		n, err := c.receive(b)
		if err != nil {
			return
		}
		_, _ = c.walk.Take(b[:n], nil)
	}
}

// read reads what a viewer sends until it goes or breaks a rule.
func (c *socket) read(ws *websocket.Conn, session *Session) ending {
	for {
		// A context that can be cancelled costs goroutines and allocations; the
		// deadlines are on the socket.
		kind, frame, err := ws.Read(context.Background())
		switch {
		case err != nil:
			return c.why(err)
		case kind != websocket.MessageText:
			return endBinary
		case !utf8.Valid(frame):
			return endNotUTF8
		}
		if end, ok := take(frame, session); !ok {
			return end
		}
	}
}

// why is why the reading ended.
func (c *socket) why(err error) ending {
	switch {
	case c.broke != nil:
		return endingOfBytes(c.broke)
	case errors.Is(c.failed, os.ErrDeadlineExceeded):
		return endIdle
	case c.failed != nil, websocket.CloseStatus(err) != -1:
		return endGone
	}
	return endingOfBytes(err)
}
