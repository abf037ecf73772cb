package fanout_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"tallystream/fanout"
	"tallystream/schemas"
)

func TestBadQueriesAreRefused(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{})
		for _, q := range []string{"?g=nothing", "?g=contest/c&v=1", "?g=contest/c&e=x", "?e=1&v=1", "?g=contest/c&e=1&v=-1", "?g=contest/UPPER"} {
			for _, path := range []string{"/v1/live", "/v1/events"} {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.base+path+q, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
				response, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				if response.StatusCode != http.StatusBadRequest {
					t.Errorf("%s%s: %s", path, q, response.Status)
				}
			}
		}
	})
}

func TestOriginsAndHostsAreChecked(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{Origins: []string{"https://results.example.org/"}, Hosts: []string{"127.0.0.1", "live.example.org:443"}})
		own := "http://" + strings.TrimPrefix(x.base, "http://")
		for _, c := range []struct {
			origin, host string
			want         int
		}{
			{"", "", http.StatusSwitchingProtocols},
			{own, "", http.StatusSwitchingProtocols},
			{"https://results.example.org", "", http.StatusSwitchingProtocols},
			{"https://RESULTS.example.org", "live.example.org:443", http.StatusSwitchingProtocols},
			{"http://results.example.org", "", http.StatusForbidden},
			{"https://evil.example", "", http.StatusForbidden},
			{"https://results.example.org.evil.example", "", http.StatusForbidden},
			{"null", "", http.StatusForbidden},
			{"", "evil.example", http.StatusMisdirectedRequest},
			{"http://evil.example", "evil.example", http.StatusMisdirectedRequest},
		} {
			header := http.Header{}
			if c.origin != "" {
				header.Set("Origin", c.origin)
			}
			ws, response, err := websocket.Dial(t.Context(), x.url("?g=contest/c"), &websocket.DialOptions{HTTPHeader: header, Host: c.host})
			if err == nil {
				ws.CloseNow()
			}
			if response == nil || response.StatusCode != c.want {
				t.Errorf("websocket from %q at %q: %v, want %d", c.origin, c.host, response, c.want)
			}
			events := http.StatusOK
			if c.want != http.StatusSwitchingProtocols {
				events = c.want
			}
			ctx, cancel := context.WithCancel(t.Context())
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, x.base+"/v1/events?g=contest/c", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			r.Header = header
			response, err = http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != events {
				t.Errorf("events from %q at %q: %s, want %d", c.origin, c.host, response.Status, events)
			}
			if got := response.Header.Get("Access-Control-Allow-Origin"); events == http.StatusOK && got != c.origin {
				t.Errorf("events allow %q, want %q", got, c.origin)
			}
			cancel()
			response.Body.Close()
		}
	})
}

func TestConnectionsAreLimitedInAllAndByAddress(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		t.Run("in all", func(t *testing.T) {
			x := startTier(t, fanout.Config{Limits: fanout.Limits{Connections: 2}})
			first := x.dial(t, "")
			wantKinds(t, first, schemas.FrameHello)
			wantKinds(t, x.dial(t, ""), schemas.FrameHello)
			_, response, err := websocket.Dial(t.Context(), x.url(""), nil)
			if err == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
				t.Errorf("a third got %v %v", response, err)
			}
			if err := first.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool {
				ws, _, err := websocket.Dial(t.Context(), x.url(""), nil)
				if err == nil {
					ws.CloseNow()
				}
				return err == nil
			})
		})
		t.Run("by address", func(t *testing.T) {
			x := startTier(t, fanout.Config{Limits: fanout.Limits{AddressConnections: 1}, AddressHeader: "X-Forwarded-For"})
			from := func(addresses string) int {
				ws, response, err := websocket.Dial(t.Context(), x.url(""), &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {addresses}}})
				if err == nil {
					t.Cleanup(func() { ws.CloseNow() })
				}
				return response.StatusCode
			}
			const in, out = http.StatusSwitchingProtocols, http.StatusTooManyRequests
			for _, c := range []struct {
				addresses string
				want      int
			}{
				{"192.0.2.1", in}, {"192.0.2.1", out}, {"192.0.2.9, 192.0.2.1", out}, // the last one is the proxy's word
				{"192.0.2.2", in}, {"2001:db8::1", in}, {"2001:db8::2", out}, {"2001:db8:0:1::1", in},
				{"garbage", in}, {"rubbish", out},
			} {
				if got := from(c.addresses); got != c.want {
					t.Errorf("%s: %d, want %d", c.addresses, got, c.want)
				}
			}
		})
	})
}

func TestAHandshakeThatIsNoneIsRefused(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{})
		response, err := http.Get(x.base + "/v1/live?g=contest/c")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("got %s", response.Status)
		}
		// And leaves nothing behind.
		waitFor(t, func() bool { return x.Hub().Sessions() == 0 })
	})
}
