package viewers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// What may be done to a host that is neither on this machine or a private
// network nor named as one's own: a look, not a load.
const (
	strangerViewers = 10
	strangerRamp    = 2 // connections a second, those that come back included
)

// ErrStranger is returned for targets that whoever runs this has not said to
// operate.
var ErrStranger = errors.New("that host is not known to be yours")

// lookup finds a host's addresses; net.DefaultResolver.LookupNetIP in life.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// guard says which hosts may be loaded.
type guard struct {
	operated []string // hosts named exactly, as in the URL
	lookup   lookup

	stranger bool // a target is not one's own: there may be a look
}

// load is what is to be done to the targets.
type load struct {
	viewers int
	ramp    float64
	storms  bool
}

func (l load) gentle() bool {
	return l.viewers <= strangerViewers && l.ramp > 0 && l.ramp <= strangerRamp && !l.storms
}

// targets checks URLs of live servers and looks their addresses up, once: what
// was checked is connected to, whatever the name says later.
func (g *guard) targets(ctx context.Context, urls []string, l load) ([]Target, error) {
	var out []Target
	for _, text := range urls {
		u, err := liveURL(text)
		if err != nil {
			return nil, err
		}
		address, own, err := g.find(ctx, u)
		if err != nil {
			return nil, err
		}
		if !own && !l.gentle() {
			return nil, fmt.Errorf("%s: %w: say --i-operate %s if it is, or stay at %d viewers, --ramp %d and no storm",
				u.Hostname(), ErrStranger, u.Hostname(), strangerViewers, strangerRamp)
		}
		g.stranger = g.stranger || !own
		out = append(out, Target{Address: address, Host: u.Host, Path: u.RequestURI(), TLS: u.Scheme == "wss"})
	}
	if len(out) == 0 {
		return nil, errors.New("name the live server, such as ws://127.0.0.1:8080")
	}
	return out, nil
}

// other checks the URL of a bucket or a metrics page: on hosts of one's own, or
// of a target.
func (g *guard) other(ctx context.Context, text string, targets []Target) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q: want a URL such as http://127.0.0.1:8080", text)
	}
	for _, t := range targets {
		if (&url.URL{Host: t.Host}).Hostname() == u.Hostname() {
			return nil
		}
	}
	_, own, err := g.find(ctx, u)
	if err != nil {
		return err
	}
	if !own {
		return fmt.Errorf("%s: %w: say --i-operate %s if it is", u.Hostname(), ErrStranger, u.Hostname())
	}
	return nil
}

// find looks a host up. It is one's own if it was named, or if all of its
// addresses are of this machine or a private network.
func (g *guard) find(ctx context.Context, u *url.URL) (address netip.AddrPort, own bool, err error) {
	addresses, err := g.lookup(ctx, "ip", u.Hostname())
	if err != nil || len(addresses) == 0 {
		return address, false, fmt.Errorf("looking for %s: %w", u.Hostname(), errors.Join(err, errNoAddress(addresses)))
	}
	own = slices.Contains(g.operated, u.Hostname())
	if !own {
		own = !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return !near(a.Unmap()) })
	}
	port, err := net.LookupPort("tcp", portOf(u))
	if err != nil {
		return address, false, fmt.Errorf("%s: %w", u.Host, err)
	}
	best := addresses[0]
	for _, a := range addresses {
		if a.Unmap().Is4() { // a load on loopback needs its many addresses
			best = a
			break
		}
	}
	return netip.AddrPortFrom(best.Unmap(), uint16(port)), own, nil
}

func errNoAddress(found []netip.Addr) error {
	if len(found) == 0 {
		return errors.New("no address")
	}
	return nil
}

func near(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() }

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "wss" || u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// livePath is where a fanout node takes viewers.
const livePath = "/v1/live"

// liveURL completes the address of a live server.
func liveURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q: want the URL of a live server, such as ws://127.0.0.1:8080", text)
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return nil, fmt.Errorf("%q: want ws, wss, http or https", text)
	}
	if u.User != nil {
		return nil, fmt.Errorf("%q: a key goes into --key, not into the URL", u.Redacted())
	}
	if !strings.HasSuffix(u.Path, livePath) {
		u.Path = strings.TrimSuffix(u.Path, "/") + livePath
	}
	u.Fragment = ""
	return u, nil
}

// sourcesPerProcess is how many addresses a process connects from on this
// machine: 28,000 ports each, of which connections that ended hold some for a
// minute.
const sourcesPerProcess = 4

// Sources are addresses of this machine to connect from, as many as n processes
// want; none if a target is elsewhere or has an address of IPv6.
func Sources(targets []Target, n int) []netip.Addr {
	for _, t := range targets {
		if !t.Address.Addr().Is4() || !t.Address.Addr().IsLoopback() {
			return nil
		}
	}
	out := make([]netip.Addr, n*sourcesPerProcess)
	for i := range out {
		out[i] = netip.AddrFrom4([4]byte{127, byte(64 + i/62_500%128), byte(i / 250 % 250), byte(1 + i%250)})
	}
	return out
}
