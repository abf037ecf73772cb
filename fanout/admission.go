package fanout

import (
	"encoding/binary"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
)

// admission decides who may open a connection.
type admission struct {
	limits  Limits
	origins []string // lower case
	hosts   []string // lower case
	header  string
	keys    *keyring // of media

	mu        sync.Mutex // guards the rest
	open      int
	addresses map[network]int32 // connections of each
	closed    bool
	empty     chan struct{} // closed when closed and nothing is open
}

// network is whom a limit is for: an IPv4 address, or the upper half of one of
// IPv6, since a /64 is what one customer gets. There is one for each of a
// million connections, so it is a number.
type network uint64

const (
	unknownNetwork network = 0              // all of these share one limit
	thisMachine    network = math.MaxUint64 // a proxy or a rehearsal: no limit
)

// ticket is what a connection was let in with, and gives back.
type ticket struct {
	from network
	key  *account // of media; nil without
}

func newAdmission(c *Config, keys *keyring) *admission {
	a := &admission{limits: c.Limits, header: c.AddressHeader, keys: keys, addresses: map[network]int32{}, empty: make(chan struct{})}
	for _, o := range c.Origins {
		a.origins = append(a.origins, strings.ToLower(strings.TrimSuffix(o, "/")))
	}
	for _, h := range c.Hosts {
		a.hosts = append(a.hosts, strings.ToLower(h))
	}
	return a
}

// refusal is why a request is not taken, for metrics, and what it is told.
type refusal struct {
	reason string
	status int
	text   string
}

// tooOften is for an address that connects too often.
var tooOften = &refusal{"address rate", http.StatusTooManyRequests, "too many new connections from this address"}

func (r *refusal) answer(w http.ResponseWriter) {
	if r.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "10")
	}
	http.Error(w, r.text, r.status)
}

// check looks at the request without counting it.
func (a *admission) check(r *http.Request) *refusal {
	if !a.hostAllowed(r.Host) {
		return &refusal{"host", http.StatusMisdirectedRequest, "this server does not answer for that host"}
	}
	if !a.originAllowed(r.Header.Get("Origin"), r.Host) {
		return &refusal{"origin", http.StatusForbidden, "pages of that origin may not open live connections"}
	}
	return nil
}

func (a *admission) hostAllowed(host string) bool {
	if len(a.hosts) == 0 {
		return true
	}
	host = strings.ToLower(host)
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	for _, h := range a.hosts {
		if h == host || h == name {
			return true
		}
	}
	return false
}

func (a *admission) originAllowed(origin, host string) bool {
	if origin == "" {
		return true // not a browser, or a page of this host
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, host) {
		return true
	}
	for _, o := range a.origins {
		if o == "*" || strings.EqualFold(o, origin) {
			return true
		}
	}
	return false
}

// key is the account of the media key that the request brings, nil without
// one. A key that is not valid is refused: who brings one counts on every
// version, and must not get less without a word.
func (a *admission) key(r *http.Request) (*account, *refusal) {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		key = r.URL.Query().Get("key")
	}
	if key == "" {
		return nil, nil
	}
	if found := a.keys.find(key); found != nil {
		return found, nil
	}
	return nil, &refusal{"unknown key", http.StatusUnauthorized, "the media key is not valid"}
}

// enter counts a connection in. leave must follow if it succeeds.
func (a *admission) enter(t ticket) *refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return &refusal{"draining", http.StatusServiceUnavailable, "this server is ending"}
	case a.open >= a.limits.Connections:
		return &refusal{"full", http.StatusServiceUnavailable, "too many live connections; the pages still update"}
	case t.from != thisMachine && int(a.addresses[t.from]) >= a.limits.AddressConnections:
		return &refusal{"address", http.StatusTooManyRequests, "too many live connections from this address"}
	case t.key != nil && !t.key.enter():
		return &refusal{"key", http.StatusTooManyRequests, "too many live connections with this key"}
	}
	a.open++
	if t.from != thisMachine {
		a.addresses[t.from]++
	}
	return nil
}

func (a *admission) leave(t ticket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if t.from != thisMachine {
		if a.addresses[t.from]--; a.addresses[t.from] <= 0 {
			delete(a.addresses, t.from)
		}
	}
	if t.key != nil {
		t.key.leave()
	}
	if a.open == 0 {
		a.addresses = map[network]int32{} // a map keeps what it once needed
		if a.closed {
			close(a.empty)
		}
	}
}

// close lets nobody in any more. The channel is closed when the last one left.
func (a *admission) close() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.closed = true
		if a.open == 0 {
			close(a.empty)
		}
	}
	return a.empty
}

func (a *admission) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// address is the client's, as the limits count it.
func (a *admission) address(r *http.Request) network {
	text := r.RemoteAddr
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	if a.header != "" {
		// The last one was added by the proxy that we trust; the client may
		// have written the others.
		if said := r.Header.Values(a.header); len(said) > 0 {
			last := said[len(said)-1]
			text = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return unknownNetwork
	}
	return networkOf(addr)
}

func networkOf(addr netip.Addr) network {
	addr = addr.Unmap()
	switch {
	case addr.IsLoopback():
		return thisMachine
	case addr.Is4():
		b := addr.As4()
		return network(binary.BigEndian.Uint32(b[:]))
	}
	b := addr.As16()
	return network(binary.BigEndian.Uint64(b[:8]))
}
