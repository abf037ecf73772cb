package fanout_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/fanout"
	"tallystream/schemas"
)

// keyFile is an operator's file of media keys.
type keyFile struct {
	mu    sync.Mutex // guards the rest
	keys  []fanout.MediaKey
	err   error
	asked int // how often it was read, since it was written
}

func (f *keyFile) read() ([]fanout.MediaKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.keys, f.err
}

func (f *keyFile) reads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *keyFile) write(err error, keys ...fanout.MediaKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys, f.err, f.asked = keys, err, 0
}

// add makes a key and returns its secret.
func (f *keyFile) add(t *testing.T, name string, limits fanout.KeyLimits) string {
	t.Helper()
	secret, key, err := fanout.NewMediaKey(name, limits, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = append(f.keys, key)
	return secret
}

// frames are a viewer's, over either transport.
type frames interface {
	next(t *testing.T) []byte
	// end reads to the end, and says how it came.
	end(t *testing.T) string
}

type socketFrames struct{ *websocket.Conn }

func (s socketFrames) next(t *testing.T) []byte { return readFrame(t, s.Conn) }

func (s socketFrames) end(t *testing.T) string {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last := ""
	for {
		_, frame, err := s.Read(ctx)
		if err != nil {
			return fmt.Sprint(last, " ", int(websocket.CloseStatus(err)))
		}
		last = string(frame)
	}
}

type eventFrames struct {
	body  io.ReadCloser
	lines *bufio.Scanner
}

func (e eventFrames) next(t *testing.T) []byte {
	for e.lines.Scan() {
		if data, ok := bytes.CutPrefix(e.lines.Bytes(), []byte("data: ")); ok {
			return bytes.Clone(data)
		}
	}
	t.Fatal("the stream ended: ", e.lines.Err())
	return nil
}

func (e eventFrames) end(*testing.T) string {
	last := ""
	for e.lines.Scan() {
		if data, ok := strings.CutPrefix(e.lines.Text(), "data: "); ok {
			last = data
		}
	}
	return fmt.Sprint(last, " end")
}

// transports open a viewer's connection with a key, or without one.
var transports = map[string]func(t *testing.T, x *tier, query, key string) (frames, int){
	"websocket": func(t *testing.T, x *tier, query, key string) (frames, int) {
		ws, response, err := websocket.Dial(t.Context(), x.url(query), &websocket.DialOptions{HTTPHeader: bearer(key)})
		if err != nil {
			if response == nil {
				t.Fatal(err)
			}
			return nil, response.StatusCode
		}
		ws.SetReadLimit(1 << 24)
		t.Cleanup(func() { ws.CloseNow() })
		return socketFrames{ws}, http.StatusOK
	},
	"events": func(t *testing.T, x *tier, query, key string) (frames, int) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, x.base+"/v1/events"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = bearer(key)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		if response.StatusCode != http.StatusOK {
			return nil, response.StatusCode
		}
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<24)
		return eventFrames{response.Body, lines}, http.StatusOK
	},
}

func bearer(key string) http.Header {
	h := http.Header{}
	if key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
	return h
}

// onTransports runs a test on every engine, over both transports.
func onTransports(t *testing.T, test func(t *testing.T, startTier starter, open func(t *testing.T, x *tier, query, key string) (frames, int))) {
	onEngines(t, func(t *testing.T, startTier starter) {
		for name, open := range transports {
			t.Run(name, func(t *testing.T) { test(t, startTier, open) })
		}
	})
}

func opened(t *testing.T, x *tier, open func(*testing.T, *tier, string, string) (frames, int), query, key string) frames {
	t.Helper()
	f, status := open(t, x, query, key)
	if status != http.StatusOK {
		t.Fatalf("%s is answered with %d", query, status)
	}
	return f
}

func wantFrames(t *testing.T, f frames, kinds ...schemas.FrameKind) []byte {
	t.Helper()
	var frame []byte
	for _, want := range kinds {
		frame = f.next(t)
		if got, err := schemas.KindOfFrame(frame); err != nil || got != want {
			t.Fatalf("got %s, want %s", frame, want)
		}
	}
	return frame
}

func TestMediaGetEveryVersionAndThePublicTheirUnionAtTheFlush(t *testing.T) {
	onTransports(t, func(t *testing.T, startTier starter, open func(*testing.T, *tier, string, string) (frames, int)) {
		file := &keyFile{}
		secret := file.add(t, "ap", fanout.KeyLimits{})
		x := startTier(t, fanout.Config{MinInterval: time.Hour, ReadMediaKeys: file.read})
		press, everybody := opened(t, x, open, "?g=*", secret), []frames{opened(t, x, open, "?g=contest/c", ""), opened(t, x, open, "?g=contest/c", "")}
		wantFrames(t, press, schemas.FrameHello, schemas.FrameSnap)
		for _, one := range everybody {
			wantFrames(t, one, schemas.FrameHello, schemas.FrameSnap)
		}
		from := x.press.log
		for range 5 {
			before := x.press.log
			x.press.change(contest, "u1")
			x.OnDelta(x.press.delta(contest))
			h, _, err := schemas.ReadDeltaHeader(wantFrames(t, press, schemas.FrameDelta))
			if err != nil || h.From != before || h.To != x.press.log {
				t.Fatalf("media got %+v: %v", h, err)
			}
		}
		x.Hub().Flush() // had the public heard before, its next frame would not lead on from the snapshot
		var same []byte
		for _, one := range everybody {
			frame := wantFrames(t, one, schemas.FrameDelta)
			h, _, err := schemas.ReadDeltaHeader(frame)
			if err != nil || h.From != from || h.To != x.press.log {
				t.Errorf("the public got %+v, want one delta from %d: %v", h, from, err)
			}
			if same != nil && !bytes.Equal(same, frame) {
				t.Errorf("%s\nand\n%s", same, frame)
			}
			same = frame
		}
	})
}

func TestAKeyThatIsTakenBackClosesItsConnectionsAndNoOthers(t *testing.T) {
	onTransports(t, func(t *testing.T, startTier starter, open func(*testing.T, *tier, string, string) (frames, int)) {
		file := &keyFile{}
		gone, stays := file.add(t, "gone", fanout.KeyLimits{}), file.add(t, "stays", fanout.KeyLimits{})
		x := startTier(t, fanout.Config{ReadMediaKeys: file.read, MediaKeysEvery: 5 * time.Millisecond})
		first, second := opened(t, x, open, "?g=*", gone), opened(t, x, open, "?g=contest/c", gone)
		other, public := opened(t, x, open, "?g=*", stays), opened(t, x, open, "?g=contest/c", "")
		for _, f := range []frames{first, second, other, public} {
			wantFrames(t, f, schemas.FrameHello, schemas.FrameSnap)
		}
		all := file.keys
		file.write(errors.New("a slip of the hand"), all...)
		waitFor(t, func() bool { return file.reads() > 3 })
		if n := x.Hub().Sessions(); n != 4 {
			t.Fatalf("%d sessions are left after keys could not be read", n)
		}

		file.write(nil, all[1])
		for _, f := range []frames{first, second} {
			end := f.end(t)
			if !strings.Contains(end, `"t":"bye","r":"key revoked"`) || !strings.HasSuffix(end, "end") && !strings.HasSuffix(end, fmt.Sprint(int(fanout.CloseKeyRevoked))) {
				t.Errorf("it ended with %q", end)
			}
		}
		if _, status := open(t, x, "?g=contest/c", gone); status != http.StatusUnauthorized {
			t.Errorf("it came back with %d", status)
		}
		x.press.change(contest, "u1")
		x.OnDelta(x.press.delta(contest))
		for _, f := range []frames{other, public} {
			wantFrames(t, f, schemas.FrameDelta)
		}
	})
}

// A connection that takes nothing cannot be told, and does not keep the key's
// frames either.
func TestAKeyThatIsTakenBackCutsOffWhoTakesNothing(t *testing.T) {
	onTransports(t, func(t *testing.T, startTier starter, open func(*testing.T, *tier, string, string) (frames, int)) {
		file := &keyFile{}
		secret := file.add(t, "gone", fanout.KeyLimits{})
		x := startTier(t, fanout.Config{ReadMediaKeys: file.read, MediaKeysEvery: 5 * time.Millisecond, Limits: fanout.Limits{WriteTimeout: time.Hour}})
		stuck := opened(t, x, open, "?g=*", secret)
		wantFrames(t, stuck, schemas.FrameHello, schemas.FrameSnap)
		x.press.change(contest, "u1")
		x.press.docs[contest].lines["zzz"] = `{"contest":"c","unit":"zzz","reporting":1,"units":99,"votes":{"` + strings.Repeat("a", 7<<20) + `":[1]}}`
		x.press.docs[contest].touched["zzz"] = true
		x.OnDelta(x.press.delta(contest))
		file.write(nil)
		waitFor(t, func() bool { return x.Hub().Sessions() == 0 })
	})
}

func TestAKeysLimitsOfConnectionsAndDocumentsHoldOverBothTransports(t *testing.T) {
	onTransports(t, func(t *testing.T, startTier starter, open func(*testing.T, *tier, string, string) (frames, int)) {
		file := &keyFile{}
		few, many := file.add(t, "few", fanout.KeyLimits{Connections: 1, Documents: 2}), file.add(t, "many", fanout.KeyLimits{})
		x := startTier(t, fanout.Config{ReadMediaKeys: file.read, Limits: fanout.Limits{Documents: 1}}, "county/a", "county/b", "county/c")
		for _, c := range []struct{ name, query, key string }{
			{"all documents without a key", "?g=*", ""},
			{"more documents than the public may", "?g=county/a&g=county/b", ""},
			{"more documents than the key may", "?g=county/a&g=county/b&g=county/c", few},
			{"all documents with a key for some", "?g=*", few},
		} {
			f, status := open(t, x, c.query, c.key)
			if f != nil { // a WebSocket is opened, and told by its close code
				if end := f.end(t); !strings.HasSuffix(end, "4403") && !strings.HasSuffix(end, "4413") {
					t.Errorf("%s: ended with %q", c.name, end)
				}
			} else if status != http.StatusForbidden && status != http.StatusBadRequest {
				t.Errorf("%s: %d", c.name, status)
			}
			waitFor(t, func() bool { return x.Hub().Sessions() == 0 })
		}
		waitFor(t, func() bool { // the one before has given its place back
			_, status := open(t, x, "?g=county/a&g=county/b", few)
			return status == http.StatusOK
		})
		if _, status := open(t, x, "?g=county/a", few); status != http.StatusTooManyRequests {
			t.Errorf("a second connection: %d", status)
		}
		for range 3 {
			opened(t, x, open, "?g=county/a&g=county/b&g=county/c", many)
		}
	})
}

func TestMetricsOfKeysNameThemAndHoldNoSecret(t *testing.T) {
	file := &keyFile{}
	secret := file.add(t, "ap", fanout.KeyLimits{})
	registry := prometheus.NewRegistry()
	x := startTier(t, fanout.Config{ReadMediaKeys: file.read, Metrics: fanout.NewMetrics(registry)})
	wantFrames(t, opened(t, x, transports["websocket"], "?g=*", secret), schemas.FrameHello, schemas.FrameSnap)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.Contains(l.GetValue(), "tallystream-media") {
					t.Errorf("%s has a secret as %s", family.GetName(), l.GetName())
				}
				if l.GetName() == "key" && l.GetValue() == "ap" {
					found[family.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
	}
	if found["tallystream_fanout_media_connections"] != 1 || found["tallystream_fanout_media_frames_total"] != 1 || found["tallystream_fanout_media_frame_bytes_total"] < 100 {
		t.Errorf("%v", found)
	}
}
