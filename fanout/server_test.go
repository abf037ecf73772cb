package fanout_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tallystream/fanout"
	"tallystream/schemas"
)

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
