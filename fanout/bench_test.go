package fanout_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"tallystream/fanout"
	"tallystream/fanout/bus"
	"tallystream/schemas"
)

// nightFrame is a delta of a county with 30 contests: 5 KB.
func nightFrame(g schemas.DocumentID, from, to schemas.Version) []byte {
	d := schemas.Delta{Epoch: 1, Document: g, From: from, To: to, Log: to, Micros: 1, Hash: schemas.DigestOf([]byte("x"))}
	for i := range 30 {
		d.Lines = append(d.Lines, fmt.Appendf(nil, `{"contest":"contest-%02d","unit":"leon","reporting":1,"units":99,"votes":{"smith":[10234,%d,918,17],"jones":[9876,5321,811,12]}}`, i, to))
	}
	return d.AppendFrame(nil)
}

// BenchmarkDeltaThatNobodyWatches is the hub's part of a national tick: 7,000
// of these.
func BenchmarkDeltaThatNobodyWatches(b *testing.B) {
	const tick = 7000
	frames := make([][]byte, tick)
	for i := range frames {
		frames[i] = nightFrame(schemas.CountyDocument(schemas.CountyID(fmt.Sprint("c", i))), 0, 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		hub := newHub(8)
		for _, f := range frames {
			hub.OnDelta(f)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tick), "ns/delta")
}

// BenchmarkSpread is the hub's part of one delivery, without a network: one
// delta, taken by a thousand sessions.
func BenchmarkSpread(b *testing.B) {
	const viewers = 1000
	hub := newHub(8)
	var woken []int
	sessions := make([]*fanout.Session, viewers)
	for i := range sessions {
		sessions[i] = hub.Open(fanout.SessionOptions{Waker: fanout.WakerFunc(func() { woken = append(woken, i) })})
		defer sessions[i].Close()
		sub := schemas.Subscribe{Documents: []schemas.DocumentID{"county/leon"}, Epoch: 1, Versions: map[schemas.DocumentID]schemas.Version{"county/leon": 0}}
		if err := sessions[i].Subscribe(&sub); err != nil {
			b.Fatal(err)
		}
	}
	drain := func() int {
		n := 0
		for _, i := range woken {
			for {
				frame, err := sessions[i].Next()
				if err != nil {
					b.Fatal(err)
				}
				if frame == nil {
					break
				}
				n++
			}
		}
		woken = woken[:0]
		return n
	}
	drain()
	version := schemas.Version(0)
	b.ReportAllocs()
	for b.Loop() {
		hub.OnDelta(nightFrame("county/leon", version, version+1))
		version++
		if n := drain(); n != viewers {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*viewers), "ns/delivery")
}

// BenchmarkUnion unites ten deltas of a county, as for one slow viewer.
func BenchmarkUnion(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		t := fanout.NewTrail("county/leon")
		for v := range schemas.Version(10) {
			frame := nightFrame("county/leon", v, v+1)
			h, _, err := schemas.ReadDeltaHeader(frame)
			if err != nil {
				b.Fatal(err)
			}
			t.Add(&h, frame, true)
		}
		if frame, _, ok := t.Next(fanout.Position{Known: true, Epoch: 1}); !ok || len(frame.Text()) == 0 {
			b.Fatal("no union")
		}
	}
}

// discarding counts what comes over the bus.
type discarding struct {
	n    atomic.Int64
	want int64
	done chan struct{}
}

func (d *discarding) OnDelta([]byte) {
	if d.n.Add(1) == d.want {
		close(d.done)
	}
}
func (d *discarding) OnPublished(schemas.Published) {}

// BenchmarkBus sends 5 KB deltas through the NATS server of this process.
func BenchmarkBus(b *testing.B) {
	s, err := bus.StartServer(bus.ServerOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c, err := bus.Connect(bus.Options{Server: s, Election: "x"})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	d := &discarding{want: int64(b.N), done: make(chan struct{})}
	if err := c.Receive(d); err != nil {
		b.Fatal(err)
	}
	frame := nightFrame("county/leon", 1, 2)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := c.Delta(context.Background(), "county/leon", frame); err != nil {
			b.Fatal(err)
		}
		for int64(i)-d.n.Load() > 20_000 { // stay below the reader's limit
			runtime.Gosched()
		}
	}
	<-d.done
}

// BenchmarkDeliveries writes a delta of 5 KB to 200 viewers over loopback, and
// reads it there: server and clients in one process.
func BenchmarkDeliveries(b *testing.B) {
	const viewers = 200
	x := startTier(b, fanout.Config{}, "county/leon")
	var got sync.WaitGroup
	for range viewers {
		ws, _, err := websocket.Dial(context.Background(), x.url("?g=county/leon&e=1&v=0"), nil)
		if err != nil {
			b.Fatal(err)
		}
		defer ws.CloseNow()
		for range 2 { // hello, snap
			if _, _, err := ws.Read(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		go func() {
			for {
				if _, _, err := ws.Read(context.Background()); err != nil {
					return
				}
				got.Done()
			}
		}()
	}
	version := x.press.log
	b.ReportAllocs()
	for b.Loop() {
		got.Add(viewers)
		x.OnDelta(nightFrame("county/leon", version, version+1))
		version++
		got.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*viewers), "us/delivery")
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// BenchmarkIdleConnections says what a connection at rest costs: heap and
// stacks of the server, and of a client that is only a socket.
func BenchmarkIdleConnections(b *testing.B) {
	const viewers = 1000
	x := startTier(b, fanout.Config{})
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	request := []byte("GET /v1/live?g=contest/c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	for b.Loop() {
		before := used()
		conns := make([]net.Conn, viewers)
		for i := range conns {
			c, err := net.Dial("tcp", x.addr)
			if err != nil {
				b.Fatal(err)
			}
			conns[i] = c
			if _, err := c.Write(request); err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 1024)
			for got := ""; !strings.Contains(got, `"t":"snap"`); {
				n, err := c.Read(buf)
				if err != nil {
					b.Fatal(err)
				}
				got += string(buf[:n])
			}
		}
		b.ReportMetric(float64(used()-before)/viewers/1024, "KiB/connection")
		for _, c := range conns {
			c.Close()
		}
		for x.Hub().Sessions() > 0 {
			runtime.Gosched()
		}
	}
}
