package fanout

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// handshake is what a connection has until its request is whole.
type handshake struct {
	from    netip.AddrPort
	request []byte
}

// maxRequest bounds a request with its header, in bytes.
const maxRequest = 8 << 10

// liveRequest is how requests begin that the engine answers. All others are
// for net/http.
const liveRequest = "GET " + livePath

// concerns says whether a request that begins with b is the engine's: yes, no,
// or not to be told yet.
func concerns(b []byte) (ours, known bool) {
	n := min(len(b), len(liveRequest))
	if string(b[:n]) != liveRequest[:n] {
		return false, true
	}
	if len(b) == n {
		return false, false
	}
	return b[n] == ' ' || b[n] == '?', true
}

var headerEnd = []byte("\r\n\r\n")

// shake goes on with a request.
func (l *loop) shake(c *conn, b []byte) {
	m := c.rare()
	if len(m.request) > 0 {
		m.request = append(m.request, b...)
		b = m.request
	}
	ours, known := concerns(b)
	end := bytes.Index(b[:min(len(b), maxRequest)], headerEnd)
	switch {
	case known && !ours:
		l.handOver(c, b)
	case known && end >= 0:
		l.upgrade(c, b[:end+len(headerEnd)], b[end+len(headerEnd):])
	case len(b) >= maxRequest:
		l.refuse(c, http.StatusRequestHeaderFieldsTooLarge, "header")
	case len(m.request) == 0:
		m.request = bytes.Clone(b)
	}
}

// refuseSlow ends a handshake that takes too long.
func (l *loop) refuseSlow(c *conn) { l.refuse(c, http.StatusRequestTimeout, "timeout") }

// refuse answers what is not a request for a live connection.
func (l *loop) refuse(c *conn, status int, reason string) {
	l.metrics.refused.WithLabelValues(reason).Inc()
	a := answer{header: http.Header{}}
	http.Error(&a, http.StatusText(status), status)
	l.turnDown(c, &a)
}

// upgrade answers a request for a live connection. early is what came after
// it.
func (l *loop) upgrade(c *conn, request, early []byte) {
	l.request.Reset(bytes.NewReader(request))
	r, err := http.ReadRequest(l.request)
	if err != nil || r.Host == "" {
		l.refuse(c, http.StatusBadRequest, "request")
		return
	}
	r.RemoteAddr = c.more.from.String()
	a := answer{header: http.Header{}}
	o, ok := l.server.open(&a, r)
	if !ok {
		l.turnDown(c, &a)
		return
	}
	// The connection is ours from here on; its finalizer must not close it.
	_ = o.ws.CloseNow()
	l.begun--
	c.state, c.ticket, c.inside, c.deflate, c.more = open, o.ticket, true, o.deflate, nil
	l.idles.push(l.now, c.fd, c.serial)
	l.metrics.connections.WithLabelValues("websocket").Inc()
	c.joined = true
	var cut func()
	if o.ticket.key != nil { // for the others it would be memory without a use
		cut = func() { l.cutSoon(c) }
	}
	if err := l.server.greet(&c.Session, o, c, cut); err != nil {
		l.write(c, a.bytes(), false)
		l.end(c, endingOf(err))
		return
	}
	early = bytes.Clone(early) // the buffer may be used again
	l.pump(c, a.bytes())
	if len(early) > 0 && c.state == open {
		l.hearFrom(c, early)
	}
}

// turnDown sends a refusal and waits for the other side to close.
func (l *loop) turnDown(c *conn, a *answer) {
	a.header.Set("Connection", "close")
	a.header.Set("Content-Length", strconv.Itoa(a.body.Len()))
	a.header.Set("Date", l.now.UTC().Format(http.TimeFormat))
	n, err := send(c.fd, a.bytes())
	if err != nil || n < len(a.bytes()) {
		l.drop(c) // a new socket has room, unless the other side does not want it
		return
	}
	_ = unix.Shutdown(int(c.fd), unix.SHUT_WR) // if it is gone, the next read says so
	l.begun--
	c.state, c.more = refused, nil
	l.leaving.push(l.now, c.fd, c.serial)
}

// handOver gives a connection to net/http.
func (l *loop) handOver(c *conn, b []byte) {
	if !l.engine.pages.reserve() {
		l.refuse(c, http.StatusServiceUnavailable, "pages")
		return
	}
	early := bytes.Clone(b)
	_ = l.control(unix.EPOLL_CTL_DEL, int(c.fd), 0) // it is polled: nothing can be wrong with it
	l.release(c)
	l.metrics.handedOver.Inc()
	tcp, err := asTCP(c.fd)
	if err != nil {
		l.engine.pages.open.Add(-1)
		return // no descriptor was left: the other side sees an end
	}
	if !l.engine.pages.give(tcp, early) {
		l.engine.pages.open.Add(-1)
		_ = tcp.Close()
	}
}

// asTCP makes a connection of the runtime's of a descriptor, which is closed.
func asTCP(fd int32) (*net.TCPConn, error) {
	file := os.NewFile(uintptr(fd), "viewer")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("handing a connection over: %w", err)
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("handing a connection over: %T", c)
	}
	return tcp, nil
}

// answer is a http.ResponseWriter that keeps the answer, and gives
// coder/websocket a connection on which nothing happens.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// Hijack implements http.Hijacker.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return silent{}, bufio.NewReadWriter(bufio.NewReaderSize(silent{}, 16), bufio.NewWriterSize(silent{}, 16)), nil
}

// bytes is the answer as it is sent.
func (a *answer) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	_ = a.header.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	b.Write(a.body.Bytes())
	return b.Bytes()
}

// silent is a connection on which nothing comes, and everything is lost.
type silent struct{}

func (silent) Read([]byte) (int, error)         { return 0, errNoData }
func (silent) Write(b []byte) (int, error)      { return len(b), nil }
func (silent) Close() error                     { return nil }
func (silent) LocalAddr() net.Addr              { return nil }
func (silent) RemoteAddr() net.Addr             { return nil }
func (silent) SetDeadline(time.Time) error      { return nil }
func (silent) SetReadDeadline(time.Time) error  { return nil }
func (silent) SetWriteDeadline(time.Time) error { return nil }
