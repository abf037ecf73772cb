package fanout_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tallystream/fanout"
	"tallystream/schemas"
)

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
