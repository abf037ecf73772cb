package fanout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"unicode/utf8"

	"github.com/coder/websocket"

	"tallystream/fanout/wire"
)

// errNoData is what a reader finds when all it was fed is read.
var errNoData = errors.New("no data")

// reader reads the messages of all connections of a loop that have agreed on
// the same, with one websocket.Conn. It is fed whole messages only, so it is
// between two messages whenever it runs out of data; after any error it is
// replaced.
type reader struct {
	ws   *websocket.Conn
	line *feed
}

// feed is the connection that a reader's websocket.Conn sees.
type feed struct {
	silent
	loop   *loop
	in     []byte
	conn   *conn // whose frames in are; nil: nobody's
	closed bool  // a close frame was answered or sent
}

func (f *feed) Read(b []byte) (int, error) {
	if len(f.in) == 0 {
		return 0, errNoData
	}
	n := copy(b, f.in)
	f.in = f.in[n:]
	return n, nil
}

// Write takes the answers to pings and closes, one frame at a time.
func (f *feed) Write(b []byte) (int, error) {
	if f.conn == nil || f.closed {
		return len(b), nil
	}
	out := wire.CheckedClose(b)
	_, _, f.closed = wire.CloseOf(out)
	f.loop.write(f.conn, append([]byte(nil), out...), true)
	return len(b), nil
}

// newReader makes one by a handshake with itself.
func newReader(l *loop, deflate bool) (reader, error) {
	r, err := http.NewRequest(http.MethodGet, livePath, nil)
	if err != nil {
		return reader{}, fmt.Errorf("making a reader: %w", err)
	}
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	o := &websocket.AcceptOptions{}
	if deflate {
		r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
		o.CompressionMode = websocket.CompressionNoContextTakeover
	}
	line := &feed{loop: l}
	ws, err := websocket.Accept(&feedAnswer{answer{header: http.Header{}}, line}, r, o)
	if err != nil {
		return reader{}, fmt.Errorf("making a reader: %w", err)
	}
	ws.SetReadLimit(l.server.limits.FrameBytes)
	return reader{ws, line}, nil
}

// feedAnswer gives coder/websocket a feed as its connection.
type feedAnswer struct {
	answer
	line *feed
}

// Hijack implements http.Hijacker.
func (a *feedAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return a.line, bufio.NewReadWriter(bufio.NewReaderSize(a.line, readBuffer), bufio.NewWriterSize(a.line, writeBuffer)), nil
}

// close lets go of what a websocket.Conn holds.
func (r *reader) close() {
	if r.ws != nil {
		r.line.conn = nil
		_ = r.ws.CloseNow()
	}
}

// hearFrom reads what an open connection sent.
func (l *loop) hearFrom(c *conn, b []byte) {
	rules := wire.Rules{
		MaxMessage: uint64(l.server.limits.FrameBytes),
		Allow:      func() bool { return c.budget.allow(l.now, l.server.limits.FrameRate) },
	}
	in := wire.Input{}
	if c.more != nil {
		in = c.more.in
	}
	rest, err := in.Feed(b, &rules, func(frames []byte, op wire.Opcode) bool {
		if op != wire.Pong { // a sign of life, and nothing more
			l.read(c, frames)
		}
		return c.state == open
	})
	if err != nil {
		l.end(c, endingOfBytes(err))
	}
	switch {
	case c.state == closing:
		_, _ = c.rare().walk.Take(rest, nil) // without rules there is no error
		if c.more.walk.Closed() {
			l.drop(c)
		}
	case c.state != open:
	case in.Waiting():
		c.rare().in = in
	case c.more != nil:
		c.more.in = in
		c.rest()
	}
}

// read has a message or a control frame read, and does what it asks for.
func (l *loop) read(c *conn, frames []byte) {
	r := &l.readers[0]
	if c.deflate {
		r = &l.readers[1]
	}
	r.line.in, r.line.conn, r.line.closed = frames, c, false
	kind, message, err := r.ws.Read(context.Background()) // nothing here can wait
	closed := r.line.closed
	r.line.in, r.line.conn = nil, nil
	switch {
	case c.state == gone: // an answer could not be written
	case errors.Is(err, errNoData) && !closed:
		return // it was a control frame
	case err == nil && kind != websocket.MessageText:
		l.end(c, endBinary)
		return
	case err == nil && !utf8.Valid(message):
		l.end(c, endNotUTF8)
		return
	case err == nil:
		if why, ok := take(message, &c.Session); !ok {
			l.end(c, why)
		}
		return
	case websocket.CloseStatus(err) != -1: // the viewer closed, and was answered
		l.closeAfter(c, endGone)
	case closed: // the reader has told the viewer what was wrong
		l.quit(c, endingOfBytes(err))
		l.linger(c)
	default:
		l.end(c, endingOfBytes(err))
	}
	l.renew(r, c.deflate)
}

// renew replaces a reader that is not between two messages any more.
func (l *loop) renew(r *reader, deflate bool) {
	r.close()
	*r, l.failed = newReader(l, deflate)
}

// closeAfter closes once everything is written.
func (l *loop) closeAfter(c *conn, why ending) {
	if !c.blocked() {
		l.quit(c, why)
		l.drop(c)
		return
	}
	c.more.after = &why
	l.linger(c)
}
