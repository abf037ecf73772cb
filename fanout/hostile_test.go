package fanout_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tallystream/fanout"
	"tallystream/fanout/wire"
	"tallystream/schemas"
)

// others are viewers who must not notice the hostile one.
func others(t *testing.T, x *tier) func() {
	t.Helper()
	quick := follow(t, x, contest)
	return func() {
		t.Helper()
		x.press.change(contest, "u1")
		x.OnDelta(x.press.delta(contest))
		waitFor(t, func() bool { return quick.holds(x.press, contest) })
	}
}

func TestAFloodOfFramesIsClosedAsTooFast(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		for name, frame := range map[string][]byte{
			"pings":           masked(0x89, []byte("flood")),
			"pongs":           masked(0x8a, nil),
			"empty fragments": masked(0x00, nil),
			"subscriptions":   text(subscribe),
		} {
			t.Run(name, func(t *testing.T) {
				x := startTier(t, fanout.Config{})
				fine := others(t, x)
				r := openRaw(t, x, "", "")
				if name == "empty fragments" {
					if _, err := r.Write(masked(0x01, nil)); err != nil {
						t.Fatal(err)
					}
				}
				go func() {
					for range 10_000 {
						if _, err := r.Write(frame); err != nil {
							return
						}
					}
				}()
				for {
					g, err := r.next()
					if err != nil {
						t.Fatalf("%v before a close frame", err)
					}
					if code, _, ok := wire.CloseOf(append(wire.AppendHead(nil, g.op, false, len(g.payload)), g.payload...)); ok {
						if code != int(fanout.CloseTooFast) {
							t.Errorf("closed with %d", code)
						}
						break
					}
				}
				fine()
			})
		}
	})
}

func TestGarbageIsClosedAndHarmsNobody(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{Limits: fanout.Limits{CloseTimeout: 50 * time.Millisecond, FrameRate: 1e6}})
		fine := others(t, x)
		random := rand.New(rand.NewPCG(seed, 7))
		for i := range 60 {
			r := openRaw(t, x, "", []string{"", offerDeflate}[i%2])
			b := make([]byte, 64<<10)
			for j := range b {
				b[j] = byte(random.Uint32())
			}
			if i%3 == 0 {
				b[1] |= 0x80 // masked, so that it gets further
			}
			if i%6 == 0 {
				b[0] &= 0x8f
			}
			go func() { _, _ = r.Write(b) }()
			for {
				g, err := r.next()
				if err != nil {
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("%x...: %v", b[:16], err)
					}
					break // closed; the close frame may be lost with what was not read
				}
				if g.op == wire.Close {
					break
				}
			}
			r.Close()
		}
		fine()
		waitFor(t, func() bool { return x.Hub().Sessions() == 1 })
	})
}

// Handshakes that never end are ended, and others come in meanwhile.
func TestHandshakesThatNeverFinishAreEnded(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{Limits: fanout.Limits{HandshakeTimeout: 2 * time.Second}})
		var conns []net.Conn
		for i := range 100 {
			c, err := net.Dial("tcp", x.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := io.WriteString(c, handshakeOf("", "X: y\r\n")[:10+i]); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		others(t, x)()
		for i, c := range conns {
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if errors.Is(err, os.ErrDeadlineExceeded) { // any other error is an end
				t.Fatalf("handshake %d: %v after %q", i, err, answer)
			}
			// net/http says nothing; a request for another path is its.
			if len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 4")) {
				t.Errorf("handshake %d: %q", i, answer)
			}
		}
	})
}

// A viewer who takes a few bytes at a time gets every frame whole, and ends at
// the newest version with few of them.
func TestATricklingViewerGetsWholeFrames(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		for name, headers := range map[string]string{"plain": "", "deflated": offerDeflate} {
			t.Run(name, func(t *testing.T) {
				// Slow as it is, it is not what this test is about.
				x := startTier(t, fanout.Config{Limits: fanout.Limits{SlowWrite: time.Hour, WriteTimeout: time.Hour}})
				r := openRaw(t, x, "?g=contest/c", headers)
				if err := r.SetDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				r.wantText(schemas.FrameSnap)
				if err := r.Conn.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
					t.Fatal(err)
				}
				r.in.Reset(&trickle{r.Conn})
				const deltas = 90 // 5 MB, more than both sockets hold
				random := rand.New(rand.NewPCG(1, 2))
				noise := make([]byte, 60<<10) // that compression cannot help with
				for j := range noise {
					noise[j] = "0123456789abcdef"[random.IntN(16)]
				}
				sent := 0
				for i := range deltas {
					x.press.change(contest, "u1")
					x.press.docs[contest].lines["u9"] = fmt.Sprintf(`{"contest":"c","unit":"u9","reporting":%d,"units":99,"votes":{"%s":[1]}}`, i%99, noise)
					x.press.docs[contest].touched["u9"] = true
					frame := x.press.delta(contest)
					sent += len(frame)
					x.OnDelta(frame)
				}
				at, frames := schemas.Version(0), 0
				for at < x.press.log {
					g := r.wantText(schemas.FrameDelta)
					h, _, err := schemas.ReadDeltaHeader(g.payload)
					if err != nil || at > 0 && h.From > at {
						t.Fatalf("frame %d leads from %d, the viewer is at %d: %v", frames, h.From, at, err)
					}
					at = h.To
					frames++
				}
				if frames == deltas {
					t.Errorf("all %d frames of %d bytes fitted into the sockets: nothing was shown", frames, sent)
				}
			})
		}
	})
}

// trickle reads odd pieces.
type trickle struct{ net.Conn }

func (c *trickle) Read(b []byte) (int, error) { return c.Conn.Read(b[:min(len(b), 1021)]) }

// After ten times that viewers came and went there is as much as before.
func TestMemoryAndGoroutinesReturnAfterTenCrowds(t *testing.T) {
	for _, e := range engines() { // one after the other, and no other test beside them
		t.Run(string(e), func(t *testing.T) {
			x := startTier(t, fanout.Config{Engine: e, PingEvery: time.Hour})
			meet := func(t *testing.T) {
				var conns []*raw
				for i := range 200 {
					r := openRaw(t, x, "?g=contest/c", []string{"", offerDeflate}[i%2])
					if i%3 == 0 { // some are in the middle of a message
						_, _ = r.Write(text(subscribe)[:9])
					}
					conns = append(conns, r)
				}
				for i, r := range conns {
					if i%3 == 1 {
						_, _ = r.Write(closeFrame(1000, ""))
						r.wantText(schemas.FrameSnap)
						r.wantClosed(1000)
					}
					r.Close()
				}
				waitFor(t, func() bool { return x.Hub().Sessions() == 0 })
			}
			crowd := func() { t.Run("crowd", meet) } // a test keeps its connections until it ends
			measure := func() (heap uint64, goroutines int) {
				runtime.GC()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc, runtime.NumGoroutine()
			}
			crowd()
			waitFor(t, func() bool { _, n := measure(); return n < 40 })
			before, goroutines := measure()
			for range 10 {
				crowd()
			}
			waitFor(t, func() bool { _, n := measure(); return n <= goroutines })
			// What 2,000 connections would hold if each left 100 bytes behind.
			waitFor(t, func() bool { after, _ := measure(); return after < before+2000*100 })
		})
	}
}

func TestAMediaKeyHasALimitOfConnections(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		x := startTier(t, fanout.Config{MediaKeys: []string{"a", "b"}, Limits: fanout.Limits{KeyConnections: 1}})
		status := func(key string) string {
			r := connectRaw(t, x, handshakeOf("?g=*&key="+key, ""))
			return strings.Fields(r.head)[1]
		}
		if a, b, again := status("a"), status("b"), status("a"); a != "101" || b != "101" || again != "429" {
			t.Errorf("a %s, b %s, a again %s", a, b, again)
		}
	})
}

func TestSeveralListenersShareAnAddress(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("sharing a port is for Linux")
	}
	first, err := fanout.Listen(t.Context(), "127.0.0.1:0", 2, true)
	if err != nil {
		t.Fatal(err)
	}
	// As another process would.
	second, err := fanout.Listen(t.Context(), first[0].Addr().String(), 1, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range append(first, second...) {
		if l.Addr().String() != first[0].Addr().String() {
			t.Error(l.Addr())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := fanout.Listen(t.Context(), "no such address", 2, true); err == nil {
		t.Error("listening nowhere")
	}
}

// Built-in TLS: the portable engine, and a client that speaks wss.
func TestTLSCanBeSpokenHere(t *testing.T) {
	t.Parallel()
	lent := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is for 127.0.0.1
	config, client := lent.TLS.Clone(), lent.Client()
	lent.Close()
	config.NextProtos = []string{"http/1.1"}
	x := startTier(t, fanout.Config{TLS: config})
	if x.Engine() != fanout.Portable {
		t.Fatal(x.Engine())
	}
	ws, _, err := websocket.Dial(t.Context(), "wss://"+x.addr+"/v1/live?g=contest/c", &websocket.DialOptions{
		HTTPClient: client, CompressionMode: websocket.CompressionNoContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	wantKinds(t, ws, schemas.FrameHello, schemas.FrameSnap)
	x.press.change(contest, "u1")
	x.OnDelta(x.press.delta(contest))
	wantKinds(t, ws, schemas.FrameDelta)
	client.CloseIdleConnections()
	if _, err := fanout.New(fanout.Config{Engine: fanout.Epoll, TLS: &tls.Config{}}); err == nil {
		t.Error("epoll takes TLS")
	}
	if _, err := fanout.New(fanout.Config{Engine: "steam"}); err == nil {
		t.Error("any engine will do")
	}
}
