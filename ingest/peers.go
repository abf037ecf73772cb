package ingest

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"tallystream/schemas"
)

// peers counts connections and failures by address. An address is remembered
// while it has connections, and after that as long as its failures are not
// forgiven; at most DefaultRememberedPeers of the latter.
type peers struct {
	limits  Limits
	metrics *Metrics
	now     func() time.Time

	mu    sync.Mutex
	open  int                  // connections. Guarded by mu
	known map[netip.Addr]*peer // guarded by mu
}

// peer is one address.
type peer struct {
	peers *peers
	open  int // connections. Guarded by peers.mu

	failures *rate.Limiter // nil: not limited
}

func newPeers(l Limits, m *Metrics, now func() time.Time) *peers {
	return &peers{limits: l, metrics: m, now: now, known: map[netip.Addr]*peer{}}
}

// fail charges the address for a failed request. A nil peer is not limited.
func (p *peer) fail() {
	if p != nil && p.failures != nil {
		p.failures.AllowN(p.peers.now(), 1)
	}
}

// blocked refuses an address that has failed too often.
func (p *peer) blocked() *refusal {
	if p == nil || p.failures == nil || p.failures.TokensAt(p.peers.now()) >= 1 {
		return nil
	}
	after := time.Duration(float64(time.Second) / float64(p.failures.Limit()))
	return &refusal{
		code: schemas.ProblemRateLimited, detail: "Too many failed requests came from this address.",
		after: min(max(after, time.Second), failureRetryAfterAtMost), close: true,
	}
}

// addressOf is what failures are charged to: an IPv4 address or an IPv6 /64,
// which is the least that one customer gets.
func addressOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := t.AddrPort().Addr().Unmap()
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// enter counts a new connection, or reports that there are too many.
func (s *peers) enter(address netip.Addr) (*peer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits.Connections > 0 && s.open >= s.limits.Connections {
		return nil, false
	}
	p := s.known[address]
	if p == nil {
		p = &peer{peers: s}
		if s.limits.FailureRate > 0 {
			p.failures = rate.NewLimiter(rate.Limit(s.limits.FailureRate), s.limits.FailureBurst)
		}
		s.makeRoom()
		s.known[address] = p
	}
	if s.limits.AddressConns > 0 && p.open >= s.limits.AddressConns {
		return nil, false
	}
	s.open++
	p.open++
	s.metrics.connections.Inc()
	return p, true
}

// leave ends a connection; mu is taken.
func (s *peers) leave(address netip.Addr, p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	p.open--
	s.metrics.connections.Dec()
	if p.open == 0 && p.forgiven() {
		delete(s.known, address)
	}
}

// forgiven reports whether nothing is left to remember of an address.
func (p *peer) forgiven() bool {
	return p.failures == nil || p.failures.TokensAt(p.peers.now()) >= float64(p.failures.Burst())
}

// makeRoom forgets addresses without connections once there are many: first
// the forgiven ones, then any. It runs with mu held.
func (s *peers) makeRoom() {
	if len(s.known) < DefaultRememberedPeers {
		return
	}
	for address, p := range s.known {
		if p.open == 0 && p.forgiven() {
			delete(s.known, address)
		}
	}
	for address, p := range s.known {
		if len(s.known) < DefaultRememberedPeers*3/4 {
			return
		}
		if p.open == 0 {
			delete(s.known, address)
		}
	}
}

// limit wraps a listener so that connections above the limits are closed with
// a short answer and never reach the HTTP server.
func (s *peers) limit(l net.Listener) net.Listener { return &limitedListener{l, s} }

type limitedListener struct {
	net.Listener
	peers *peers
}

// turnedAway is the answer to a connection above the limits.
const turnedAway = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := addressOf(c.RemoteAddr())
		if p, ok := l.peers.enter(address); ok {
			return &peerConn{Conn: c, peer: p, address: address}, nil
		}
		l.peers.metrics.turnedAway.Inc()
		// The answer fits any socket buffer; a deadline that has passed lets
		// the write do no more than that.
		_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		_, _ = c.Write([]byte(turnedAway))
		_ = c.Close()
	}
}

// peerConn is a counted connection.
type peerConn struct {
	net.Conn
	peer    *peer
	address netip.Addr
	once    sync.Once
}

func (c *peerConn) Close() error {
	c.once.Do(func() { c.peer.peers.leave(c.address, c.peer) })
	return c.Conn.Close()
}

// CloseWrite lets net/http end the writing side first, so that a refused
// client reads its problem instead of a reset.
func (c *peerConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

type peerKey struct{}

// withPeer puts a connection's peer into its requests' context.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(*peerConn); ok {
		return context.WithValue(ctx, peerKey{}, p.peer)
	}
	return ctx
}

// peerOf is the address that sent r; nil where the Handler runs without Serve.
func peerOf(r *http.Request) *peer {
	p, _ := r.Context().Value(peerKey{}).(*peer)
	return p
}
