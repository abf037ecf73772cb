package viewers

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// names is a strict resolver: a name that is not in it fails.
type names map[string]string

func (n names) lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	var out []netip.Addr
	for a := range strings.FieldsSeq(n[host]) {
		out = append(out, netip.MustParseAddr(a))
	}
	if out == nil {
		return nil, errors.New("no such host")
	}
	return out, nil
}

var world = names{
	"localhost": "::1 127.0.0.1", "inside.example": "10.1.2.3", "live.example.org": "203.0.113.7", "half.example": "10.1.2.3 203.0.113.7",
	"v6.example": "fd00::1", "mapped.example": "::ffff:203.0.113.7",
}

func TestStrangersAreNotLoaded(t *testing.T) {
	much, little := load{viewers: 1000, ramp: 1000}, load{viewers: strangerViewers, ramp: strangerRamp}
	for _, c := range []struct {
		url      string
		operated string
		load     load
		ok       bool
	}{
		{"ws://127.0.0.1:8080", "", much, true},
		{"http://localhost:8080", "", much, true},
		{"ws://127.9.9.9:1", "", much, true},
		{"ws://inside.example", "", much, true},
		{"ws://v6.example", "", much, true},
		{"ws://192.168.3.4", "", much, true},
		{"wss://live.example.org", "", much, false},
		{"wss://live.example.org", "live.example.org", much, true},
		{"wss://live.example.org", "example.org", much, false},
		{"wss://live.example.org", "LIVE.example.org", much, false},
		{"wss://live.example.org", "live.example.org:443", much, false},
		{"ws://203.0.113.7", "live.example.org", much, false},
		{"ws://half.example", "", much, false}, // one of its addresses is public
		{"ws://mapped.example", "", much, false},
		{"ws://8.8.8.8", "", load{viewers: 1, ramp: 0}, false}, // no ramp is no bound
		{"wss://live.example.org", "", little, true},
		{"wss://live.example.org", "", load{viewers: strangerViewers + 1, ramp: 1}, false},
		{"wss://live.example.org", "", load{viewers: 1, ramp: strangerRamp + 1}, false},
		{"wss://live.example.org", "", load{viewers: 1, ramp: 1, storms: true}, false},
		{"ws://nowhere.example", "nowhere.example", much, false},
		{"ftp://127.0.0.1", "", much, false},
		{"127.0.0.1:8080", "", much, false},
		{"ws://key@127.0.0.1", "", much, false},
		{"ws://", "", much, false},
	} {
		g := guard{operated: []string{c.operated}, lookup: world.lookup}
		if _, err := g.targets(t.Context(), []string{c.url}, c.load); (err == nil) != c.ok {
			t.Errorf("%s, operated %q, %+v: %v", c.url, c.operated, c.load, err)
		}
		if look := c.ok && c.load == little; g.stranger != look {
			t.Errorf("%s, %+v: stranger %v", c.url, c.load, g.stranger)
		}
	}
	if _, err := (&guard{lookup: world.lookup}).targets(t.Context(), nil, little); err == nil {
		t.Error("no target is taken")
	}
}

func TestTheErrorForAStrangerNamesTheFlag(t *testing.T) {
	g := guard{lookup: world.lookup}
	_, err := g.targets(t.Context(), []string{"wss://live.example.org"}, load{viewers: 11})
	if !errors.Is(err, ErrStranger) || !strings.Contains(err.Error(), "--i-operate live.example.org") {
		t.Error(err)
	}
}

func TestTargetsAreWhatTheURLSays(t *testing.T) {
	g := guard{operated: []string{"live.example.org"}, lookup: world.lookup}
	got, err := g.targets(t.Context(), []string{"https://live.example.org/eu/", "ws://localhost:8080/v1/live?x=1"}, load{viewers: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := []Target{
		{netip.MustParseAddrPort("203.0.113.7:443"), "live.example.org", "/eu/v1/live", true},
		{netip.MustParseAddrPort("127.0.0.1:8080"), "localhost:8080", "/v1/live?x=1", false},
	}
	if got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v", got)
	}
}

func TestBucketsAndMetricsOfStrangersAreNotRead(t *testing.T) {
	targets := []Target{{Host: "live.example.org:443"}}
	g := guard{lookup: world.lookup}
	for url, ok := range map[string]bool{
		"http://127.0.0.1:9090/metrics": true, "https://live.example.org/": true, "http://203.0.113.9/": false, "ftp://127.0.0.1": false, "x": false,
	} {
		if err := g.other(t.Context(), url, targets); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// What is refused elsewhere is not asked for there: the guard knows of one host.
func TestARedirectToAnotherHostIsNotFollowed(t *testing.T) {
	asked := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host + r.URL.Path
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "http://localhost"+r.Host[strings.LastIndexByte(r.Host, ':'):]+"/there", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		}
	}))
	defer srv.Close()
	f := newFetcher(srv.URL)
	defer f.client.CloseIdleConnections()
	if _, err := f.get(t.Context(), "here"); err != nil || len(asked) != 2 {
		t.Errorf("%v after %d requests", err, len(asked))
	}
	if _, err := f.get(t.Context(), "away"); !errors.Is(err, ErrStranger) || len(asked) != 3 {
		t.Errorf("%v after %d requests", err, len(asked))
	}
	if _, err := f.get(t.Context(), "round"); err == nil {
		t.Error("it went on and on")
	}
}

func TestACommandChecksItsFlagsBeforeItConnects(t *testing.T) {
	good := ViewersCommand{URL: []string{"ws://127.0.0.1:1"}, Viewers: 10, Follow: 1, Document: []string{"election"}, Processes: 1, Sample: 0.5, For: time.Second}
	if _, err := good.session(t.Context(), world.lookup); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ViewersCommand){
		"no viewers":             func(c *ViewersCommand) { c.Viewers = 0 },
		"a bad document":         func(c *ViewersCommand) { c.Document = []string{"../x"} },
		"more than there is":     func(c *ViewersCommand) { c.Follow = 2 },
		"a sample above one":     func(c *ViewersCommand) { c.Sample = 1.5 },
		"everything, no key":     func(c *ViewersCommand) { c.All = true },
		"a stranger's bucket":    func(c *ViewersCommand) { c.Bucket = "http://203.0.113.9/" },
		"a stranger's metrics":   func(c *ViewersCommand) { c.Status = []string{"http://203.0.113.9/"} },
		"a stranger":             func(c *ViewersCommand) { c.URL = append(c.URL, "wss://live.example.org") },
		"a share above one":      func(c *ViewersCommand) { c.StormShare = 2 },
		"a ramp below zero":      func(c *ViewersCommand) { c.Ramp = -1 },
		"no process":             func(c *ViewersCommand) { c.Processes = 0 },
		"nothing to look it up":  func(c *ViewersCommand) { c.Document = nil }, // nobody serves a bucket there
		"a negative time":        func(c *ViewersCommand) { c.For = -1 },
		"handshakes below zero":  func(c *ViewersCommand) { c.InFlight = -1 },
		"a follow below zero":    func(c *ViewersCommand) { c.Follow = -1 },
		"a target without a URL": func(c *ViewersCommand) { c.URL = []string{"x"} },
	} {
		c := good
		change(&c)
		if _, err := c.session(t.Context(), world.lookup); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
