package fanout_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tallystream/fanout"
	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// tier is a running live tier with a press behind it.
type tier struct {
	*fanout.Server
	press *press
	addr  string
	base  string // URL
	pages *http.ServeMux
	stop  func()
}

const contest schemas.DocumentID = "contest/c"

// starter starts a tier of one engine.
type starter func(t testing.TB, cfg fanout.Config, documents ...schemas.DocumentID) *tier

// onEngines runs a test on each engine of this system.
func onEngines(t *testing.T, test func(t *testing.T, start starter)) {
	t.Helper()
	t.Parallel()
	for _, e := range engines() {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			test(t, func(t testing.TB, cfg fanout.Config, documents ...schemas.DocumentID) *tier {
				t.Helper()
				cfg.Engine = e
				return startTier(t, cfg, documents...)
			})
		})
	}
}

func engines() []fanout.Engine {
	if runtime.GOOS == "linux" {
		return []fanout.Engine{fanout.Epoll, fanout.Portable}
	}
	return []fanout.Engine{fanout.Portable}
}

func startTier(t testing.TB, cfg fanout.Config, documents ...schemas.DocumentID) *tier {
	t.Helper()
	if len(documents) == 0 {
		documents = []schemas.DocumentID{contest}
	}
	// On a busy machine a test can last until the first ping, 0.6 s from here, or
	// until viewers are idle. Tests of these say when.
	cfg.PingEvery, cfg.Limits.IdleTimeout = cmp.Or(cfg.PingEvery, time.Hour), cmp.Or(cfg.Limits.IdleTimeout, time.Hour)
	server, err := fanout.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &tier{Server: server, press: newPress(documents...), pages: http.NewServeMux(), addr: l.Addr().String(), base: "http://" + l.Addr().String()}
	x.pages.Handle("/", x.press)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		if err := server.Serve(ctx, x.pages, l); err != nil {
			t.Error(err)
		}
	})
	x.stop = sync.OnceFunc(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		cancel()
		running.Wait()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	t.Cleanup(x.stop)
	for _, g := range documents {
		x.press.change(g, "u1", "u2", "u3")
		x.press.delta(g)
	}
	server.OnPublished(x.press.publish(true))
	return x
}

func (x *tier) url(query string) string { return "ws://" + x.addr + "/v1/live" + query }

func (x *tier) dial(t *testing.T, query string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), x.url(query), nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(1 << 24)
	t.Cleanup(func() { ws.CloseNow() })
	return ws
}

// patience is how long tests wait for what must come: only for ever is an error,
// and a busy machine is slow.
const patience = time.Minute

func readFrame(t *testing.T, ws *websocket.Conn) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, frame, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func wantKinds(t *testing.T, ws *websocket.Conn, kinds ...schemas.FrameKind) []byte {
	t.Helper()
	var frame []byte
	for _, want := range kinds {
		frame = readFrame(t, ws)
		if got, err := schemas.KindOfFrame(frame); err != nil || got != want {
			t.Fatalf("got %s, want %s", frame, want)
		}
	}
	return frame
}

// wantClose reads until the server closes, and checks its code.
func wantClose(t *testing.T, ws *websocket.Conn, want websocket.StatusCode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			if got := websocket.CloseStatus(err); got != want {
				t.Errorf("closed with %d (%v), want %d", got, err, want)
			}
			return
		}
	}
}

func TestADocumentIsFollowedByQueryAndBySubscribeFrame(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{})
		byQuery := x.dial(t, "?g=contest/c")
		wantKinds(t, byQuery, schemas.FrameHello, schemas.FrameSnap)
		byFrame := x.dial(t, "")
		wantKinds(t, byFrame, schemas.FrameHello)
		// As a browser would write it, in an order of its own.
		if err := byFrame.Write(t.Context(), websocket.MessageText, []byte(`{"t":"sub","g":["contest/c"],"p":1}`)); err != nil {
			t.Fatal(err)
		}
		wantKinds(t, byFrame, schemas.FrameSnap)
		x.press.change(contest, "u2")
		x.OnDelta(x.press.delta(contest))
		if a, b := wantKinds(t, byQuery, schemas.FrameDelta), wantKinds(t, byFrame, schemas.FrameDelta); !bytes.Equal(a, b) {
			t.Errorf("%s\nand\n%s", a, b)
		}
		if err := byFrame.Write(t.Context(), websocket.MessageText, []byte(`{"p":1,"t":"unsub","g":["contest/c"]}`)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAViewerResumesByQuery(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{})
		at := x.press.log
		x.press.change(contest, "u2")
		x.OnDelta(x.press.delta(contest))
		ws := x.dial(t, fmt.Sprintf("?g=contest/c&e=1&v=%d", at))
		frame := wantKinds(t, ws, schemas.FrameHello, schemas.FrameDelta)
		if h, _, err := schemas.ReadDeltaHeader(frame); err != nil || h.From != at || h.To != x.press.log {
			t.Errorf("%s: %v", frame, err)
		}
	})
}

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

func TestRuleBreakersAreClosedWithTheirCode(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		many := make([]schemas.DocumentID, 65)
		for i := range many {
			many[i] = schemas.CountyDocument(schemas.CountyID(fmt.Sprint("c", i)))
		}
		tooMany := schemas.Subscribe{Documents: many}
		for name, c := range map[string]struct {
			frame []byte
			times int
			kind  websocket.MessageType
			want  websocket.StatusCode
		}{
			"not JSON":           {[]byte("hello"), 1, websocket.MessageText, fanout.CloseBadFrame},
			"unknown member":     {[]byte(`{"p":1,"t":"sub","g":["election"],"x":1}`), 1, websocket.MessageText, fanout.CloseBadFrame},
			"unknown kind":       {[]byte(`{"p":1,"t":"delta"}`), 1, websocket.MessageText, fanout.CloseBadFrame},
			"other protocol":     {[]byte(`{"p":2,"t":"sub","g":["election"]}`), 1, websocket.MessageText, fanout.CloseBadFrame},
			"bad document":       {[]byte(`{"p":1,"t":"sub","g":["../x"]}`), 1, websocket.MessageText, fanout.CloseBadFrame},
			"binary":             {[]byte("x"), 1, websocket.MessageBinary, websocket.StatusUnsupportedData},
			"too large":          {bytes.Repeat([]byte(" "), 33<<10), 1, websocket.MessageText, websocket.StatusMessageTooBig},
			"too many documents": {tooMany.AppendFrame(nil), 1, websocket.MessageText, fanout.CloseTooManyDocuments},
			"all without a key":  {[]byte(`{"p":1,"t":"sub","g":["*"]}`), 1, websocket.MessageText, fanout.CloseNotAllowed},
			"too fast":           {[]byte(`{"p":1,"t":"sub","g":["election"]}`), 40, websocket.MessageText, fanout.CloseTooFast},
		} {
			t.Run(name, func(t *testing.T) {
				x := startTier(t, fanout.Config{})
				ws := x.dial(t, "")
				for range c.times {
					if ws.Write(t.Context(), c.kind, c.frame) != nil {
						break // closed already
					}
				}
				wantClose(t, ws, c.want)
			})
		}
	})
}

func TestMediaWithAKeyFollowsEverything(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{MediaKeys: []string{"other", "secret"}}, "county/a", "county/b")
		ws := x.dial(t, "?g=*&key=secret")
		wantKinds(t, ws, schemas.FrameHello, schemas.FrameSnap, schemas.FrameSnap)
		wantClose(t, x.dial(t, "?g=*"), fanout.CloseNotAllowed)
		// Who brings a key counts on it.
		for _, path := range []string{"/v1/live", "/v1/events"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.base+path+"?g=county/a&key=wrong", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with a wrong key: %s", path, response.Status)
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

// waitFor asks again until a condition holds that another goroutine brings
// about.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("it did not come about")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestEventsCarryTheSameFramesAsTheWebSocket(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{})
		ws := x.dial(t, "?g=contest/c")
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.base+"/v1/events?g=contest/c", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("type is %s", got)
		}
		events := bufio.NewScanner(response.Body)
		id := ""
		next := func() []byte {
			for events.Scan() {
				if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
					return []byte(data)
				}
				if is, ok := strings.CutPrefix(events.Text(), "id: "); ok {
					id = is
				}
			}
			t.Fatal("the stream ended")
			return nil
		}
		for range 2 { // hello, snap
			if a, b := readFrame(t, ws), next(); !bytes.Equal(a, b) {
				t.Errorf("%s\nand\n%s", a, b)
			}
		}
		for i := range 20 {
			x.press.change(contest, fmt.Sprintf("u%d", i))
			x.OnDelta(x.press.delta(contest))
			if a, b := readFrame(t, ws), next(); !bytes.Equal(a, b) {
				t.Errorf("%s\nand\n%s", a, b)
			}
		}
		if want := fmt.Sprintf("1.%d", x.press.log); id != want {
			t.Errorf("last id is %q, want %q", id, want)
		}
		// A plain EventSource goes on by itself.
		x.press.change(contest, "u1")
		x.OnDelta(x.press.delta(contest))
		r.Header.Set("Last-Event-ID", id)
		response.Body.Close()
		if response, err = http.DefaultClient.Do(r); err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		events = bufio.NewScanner(response.Body)
		next() // hello
		if h, _, err := schemas.ReadDeltaHeader(next()); err != nil || h.To != x.press.log {
			t.Errorf("resumed with %+v: %v", h, err)
		}
	})
}

func TestADrainingServerSaysByeAndWhenToComeBack(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{})
		ws := x.dial(t, "?g=contest/c")
		wantKinds(t, ws, schemas.FrameHello, schemas.FrameSnap)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.base+"/v1/events?g=contest/c", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		stopped := make(chan struct{})
		go func() {
			x.stop()
			close(stopped)
		}()
		bye, err := schemas.ParseBye(wantKinds(t, ws, schemas.FrameBye))
		if err != nil || bye.Reason != "drain" || bye.Milliseconds <= 0 {
			t.Errorf("%+v: %v", bye, err)
		}
		wantClose(t, ws, websocket.StatusServiceRestart)
		all, err := io.ReadAll(response.Body)
		if err != nil || !strings.Contains(string(all), `"t":"bye"`) {
			t.Errorf("events end with %q: %v", all, err)
		}
		<-stopped
		if x.Ready() == nil {
			t.Error("still ready")
		}
	})
}

func TestAViewerThatTakesFramesTooSlowlyIsCutOffAndTheOthersAreNot(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		for _, c := range []struct {
			name string
			cfg  fanout.Limits
			slow func(x *tier)        // how long it takes nothing
			want websocket.StatusCode // what the viewer can still be told
		}{
			{"takes it late", fanout.Limits{SlowWrite: time.Second}, func(*tier) { time.Sleep(1200 * time.Millisecond) }, fanout.CloseTooSlow},
			{"takes nothing", fanout.Limits{WriteTimeout: time.Second}, func(x *tier) { waitFor(t, func() bool { return x.Hub().Sessions() < 2 }) }, -1},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				x := startTier(t, fanout.Config{Limits: c.cfg})
				quick := follow(t, x, contest)
				// A line of 6 MB does not fit into the buffers of a socket.
				slow := x.dial(t, "?g=contest/c")
				wantKinds(t, slow, schemas.FrameHello, schemas.FrameSnap)
				x.press.change(contest, "u1")
				x.press.docs[contest].lines["zzz"] = `{"contest":"c","unit":"zzz","reporting":1,"units":99,"votes":{"` + strings.Repeat("a", 6<<20) + `":[1]}}`
				x.press.docs[contest].touched["zzz"] = true
				x.OnDelta(x.press.delta(contest))
				waitFor(t, func() bool { return quick.holds(x.press, contest) })
				c.slow(x)
				wantClose(t, slow, c.want)
				x.press.change(contest, "u1")
				x.OnDelta(x.press.delta(contest))
				waitFor(t, func() bool { return quick.holds(x.press, contest) })
			})
		}
	})
}

// client is a viewer over the network.
type client struct{ *viewer.Client }

func follow(t *testing.T, x *tier, documents ...schemas.DocumentID) client {
	t.Helper()
	c, err := viewer.New(viewer.Config{Live: x.base, Bucket: x.base, Documents: documents})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return client{c}
}

func (c client) holds(p *press, g schemas.DocumentID) bool {
	body, _, _, ok := c.Copy(g)
	return ok && bytes.Equal(body, p.docs[g].body())
}

func TestViewersOverTheNetworkEndWithTheDocumentsBytes(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 1))
		documents := []schemas.DocumentID{"election", "contest/c", "county/x"}
		x := startTier(t, fanout.Config{MinInterval: 2 * time.Millisecond}, documents...)
		var clients []client
		for i := range 30 {
			clients = append(clients, follow(t, x, documents[:1+i%3]...))
		}
		for i := range 300 {
			g := documents[random.IntN(len(documents))]
			x.press.change(g, someUnits(random, 200)...)
			if frame := x.press.delta(g); random.IntN(10) > 0 {
				x.OnDelta(frame)
			}
			if i%40 == 0 {
				x.OnPublished(x.press.publish(false))
			}
			if i == 150 {
				x.press.restart()
				x.OnPublished(x.press.publish(true))
			}
		}
		x.OnPublished(x.press.publish(false))
		for i, c := range clients {
			for _, g := range documents[:1+i%3] {
				waitFor(t, func() bool { return c.holds(x.press, g) })
			}
			if s := c.Stats(); s.Mismatches > 0 {
				t.Errorf("viewer %d: %+v", i, s)
			}
		}
	})
}

func TestWhatTheBusLostIsTakenFromTheBucket(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		p := newPress(contest)
		p.change(contest, "u1", "u2")
		p.publish(true) // before the server started
		x := startTier(t, fanout.Config{Bucket: p, BucketEvery: 5 * time.Millisecond}, "county/other")
		x.pages.Handle("/documents/", p)
		p.snapshot = x.press.snapshot + 10
		p.publish(true)
		c := follow(t, x, contest)
		waitFor(t, func() bool { return c.holds(p, contest) })
		p.change(contest, "u2")
		p.publish(false) // the bus lost it
		waitFor(t, func() bool { return c.holds(p, contest) })
	})
}

func TestASilentViewerIsClosedAsIdle(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{PingEvery: time.Hour, Limits: fanout.Limits{IdleTimeout: 50 * time.Millisecond}})
		wantClose(t, x.dial(t, "?g=contest/c"), fanout.CloseIdle)
	})
}

func TestAViewerThatAnswersPingsStays(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		// Pings come every second, and each answer puts the idle timeout off, which
		// is long enough for a busy machine to be late with some.
		x := startTier(t, fanout.Config{PingEvery: time.Second, Limits: fanout.Limits{IdleTimeout: 5 * time.Second}})
		ws, begun := x.dial(t, "?g=contest/c"), time.Now()
		wantKinds(t, ws, schemas.FrameHello, schemas.FrameSnap)
		for time.Since(begun) < 6*time.Second {
			wantKinds(t, ws, schemas.FramePing)
		}
	})
}

func TestAConnectionThatFollowsNothingIsClosed(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{PingEvery: time.Second, Limits: fanout.Limits{IdleTimeout: 1500 * time.Millisecond}})
		wantClose(t, x.dial(t, ""), fanout.CloseIdle)
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

func TestAViewerThatVanishesLeavesNothingBehind(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{})
		ws := x.dial(t, "?g=contest/c")
		wantKinds(t, ws, schemas.FrameHello, schemas.FrameSnap)
		if err := ws.CloseNow(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return x.Hub().Sessions() == 0 })
	})
}

func TestAFrameThatComesWithTheHandshakeIsRead(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{})
		c, err := net.Dial("tcp", x.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		frame := []byte(`{"p":1,"t":"sub","g":["contest/c"]}`)
		masked := append([]byte{0x81, 0x80 | byte(len(frame)), 0, 0, 0, 0}, frame...) // a mask of zeros
		request := "GET /v1/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
		if _, err := c.Write(append([]byte(request), masked...)); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for !bytes.Contains(got, []byte(`"t":"snap"`)) {
			b := make([]byte, 4096)
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("%v after %q", err, got)
			}
			got = append(got, b[:n]...)
		}
	})
}
