package fanout_test

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"net/http"
	"runtime"
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
