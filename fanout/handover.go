package fanout

import (
	"net"
	"sync"
	"sync/atomic"
)

// handover is a listener whose connections come from an engine, with what was
// read from them. Only so many are there at a time.
type handover struct {
	addr  net.Addr
	most  int32
	open  atomic.Int32
	queue chan net.Conn
	done  chan struct{} // closed by Close

	mu     sync.Mutex // guards closed, and queue against a give after Close
	closed bool
}

// handoverQueue is how many wait for net/http, whose loop takes them at once.
const handoverQueue = 256

func newHandover(most int, addr net.Addr) *handover {
	return &handover{addr: addr, most: int32(most), queue: make(chan net.Conn, handoverQueue), done: make(chan struct{})}
}

// reserve makes room for one more, if there is any.
func (h *handover) reserve() bool {
	if h.open.Add(1) > h.most {
		h.open.Add(-1)
		return false
	}
	return true
}

// give passes a connection on that room was made for. False: nobody takes it.
func (h *handover) give(c *net.TCPConn, early []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	select {
	case h.queue <- &handedOver{TCPConn: c, from: h, early: early}:
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.queue:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handover) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.done)
	}
	for {
		select {
		case c := <-h.queue:
			_ = c.Close() // it was not answered
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (h *handover) Addr() net.Addr { return h.addr }

// handedOver is a connection of which something was read already.
type handedOver struct {
	*net.TCPConn
	from   *handover
	early  []byte // the reader's
	closed atomic.Bool
}

func (c *handedOver) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.TCPConn.Read(b)
}

func (c *handedOver) Close() error {
	if !c.closed.Swap(true) {
		c.from.open.Add(-1)
	}
	return c.TCPConn.Close()
}
