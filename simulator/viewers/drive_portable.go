package viewers

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// lines drives a crowd with a goroutine for each connection.
type lines struct {
	mu    sync.Mutex // guards the rest, and the crowd
	crowd *crowd
	open  map[int]*line
	group sync.WaitGroup
}

// line is one connection.
type line struct {
	end  context.CancelFunc // closes it, dialled or not
	conn net.Conn           // nil while dialling
	why  error              // it was closed by us
}

// drivePortably moves the bytes of a crowd until ctx ends.
func drivePortably(ctx context.Context, c *crowd, f *fetcher, orders <-chan func(*crowd)) error {
	l := &lines{crowd: c, open: map[int]*line{}}
	ctx, stop := context.WithCancel(ctx)
	defer l.group.Wait()
	defer stop()
	for ctx.Err() == nil {
		l.mu.Lock()
		takeOrders(c, orders)
		f.serve(ctx, c)
		c.tick(time.Now())
		l.flush()
		l.dial(ctx)
		wait := c.wait(time.Now())
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(max(wait, time.Millisecond)):
		}
	}
	return nil
}

// dial begins the connections that are due. l.mu is held.
func (l *lines) dial(ctx context.Context) {
	for range dialsInRow {
		i, t, from, ok := l.crowd.dial(time.Now())
		if !ok {
			return
		}
		ctx, end := context.WithCancel(ctx)
		n := &line{end: end}
		l.open[i] = n
		l.group.Go(func() {
			err := l.live(ctx, n, i, t, from)
			end()
			l.mu.Lock()
			defer l.mu.Unlock()
			if n.why != nil {
				err = n.why
			}
			delete(l.open, i)
			l.crowd.ended(i, err, time.Now())
		})
	}
}

const dialsInRow = 64

// live is one connection from its first packet to its last. What it returns
// is why it ended.
func (l *lines) live(ctx context.Context, n *line, i int, t Target, from netip.Addr) error {
	conn, err := connect(ctx, t, from)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	l.mu.Lock()
	n.conn = conn
	request := l.crowd.connected(i)
	l.mu.Unlock()
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	buffer := make([]byte, 4<<10)
	for {
		k, err := conn.Read(buffer)
		if err != nil {
			return err
		}
		l.mu.Lock()
		err = l.crowd.received(i, buffer[:k], time.Now())
		l.flush()
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// trusted says which certificates are; those of the system, but for tests.
var trusted = new(tls.Config)

func connect(ctx context.Context, t Target, from netip.Addr) (net.Conn, error) {
	var d net.Dialer
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", t.Address.String())
	if err != nil || !t.TLS {
		return conn, err
	}
	name, _, err := net.SplitHostPort(t.Host)
	if err != nil {
		name = t.Host
	}
	config := trusted.Clone()
	config.ServerName, config.NextProtos = name, []string{"http/1.1"}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}

// flush does what the crowd asked for. l.mu is held.
func (l *lines) flush() {
	c := l.crowd
	for _, a := range c.answers {
		n := l.open[a.seat]
		if n == nil || n.conn == nil {
			continue
		}
		// A few bytes: a peer that does not take them at once takes nothing.
		_ = n.conn.SetWriteDeadline(time.Now().Add(writePatience)) // a connection without deadlines fails at the write
		if _, err := n.conn.Write(a.bytes); err != nil {
			n.why = fmt.Errorf("writing: %w", err)
			n.end()
		}
	}
	for _, e := range c.closes {
		if n := l.open[e.seat]; n != nil && n.why == nil {
			n.why = e.why
			n.end()
		}
	}
	c.answers, c.closes = nil, nil
}

// writePatience is long for a few bytes because this machine is busy: that is
// what it is used for.
const writePatience = time.Second
