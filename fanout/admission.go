package fanout

import (
	"crypto/sha256"
	"crypto/subtle"
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
	keys    [][sha256.Size]byte // of media

	mu        sync.Mutex // guards the rest
	open      int
	addresses map[netip.Addr]int
	closed    bool
	empty     chan struct{} // closed when closed and nothing is open
}

func newAdmission(c *Config) *admission {
	a := &admission{limits: c.Limits, header: c.AddressHeader, addresses: map[netip.Addr]int{}, empty: make(chan struct{})}
	for _, o := range c.Origins {
		a.origins = append(a.origins, strings.ToLower(strings.TrimSuffix(o, "/")))
	}
	for _, h := range c.Hosts {
		a.hosts = append(a.hosts, strings.ToLower(h))
	}
	for _, k := range c.MediaKeys {
		a.keys = append(a.keys, sha256.Sum256([]byte(k)))
	}
	return a
}

// refusal is why a request is not taken, for metrics, and what it is told.
type refusal struct {
	reason string
	status int
	text   string
}

func (r *refusal) answer(w http.ResponseWriter) {
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

// media reports whether the request brings a key. Each is compared in the
// same time whatever it is.
func (a *admission) media(r *http.Request) bool {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		key = r.URL.Query().Get("key")
	}
	if key == "" {
		return false
	}
	sum := sha256.Sum256([]byte(key))
	found := 0
	for _, k := range a.keys {
		found |= subtle.ConstantTimeCompare(sum[:], k[:])
	}
	return found == 1
}

// enter counts a connection in. leave must follow if it succeeds.
func (a *admission) enter(from netip.Addr) *refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return &refusal{"draining", http.StatusServiceUnavailable, "this server is ending"}
	}
	if a.open >= a.limits.Connections {
		return &refusal{"full", http.StatusServiceUnavailable, "too many live connections; the pages still update"}
	}
	// What comes from this machine is a proxy or a rehearsal, not one viewer.
	if a.addresses[from] >= a.limits.AddressConnections && !from.IsLoopback() {
		return &refusal{"address", http.StatusTooManyRequests, "too many live connections from this address"}
	}
	a.open++
	a.addresses[from]++
	return nil
}

func (a *admission) leave(from netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if a.addresses[from]--; a.addresses[from] <= 0 {
		delete(a.addresses, from)
	}
	if a.closed && a.open == 0 {
		close(a.empty)
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
func (a *admission) address(r *http.Request) netip.Addr {
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
		return netip.Addr{} // all of these share one limit
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return addr
}
