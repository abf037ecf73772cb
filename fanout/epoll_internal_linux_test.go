package fanout

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"tallystream/schemas"
)

// startEpoll runs the engine with another accept4.
func startEpoll(t *testing.T, cfg Config, accept4 func(fd int) (int, unix.Sockaddr, error)) (*Server, string) {
	t.Helper()
	cfg.Engine = Epoll
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), "127.0.0.1:0", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	addr := l[0].Addr().String()
	e, err := newEpoll(s, l)
	if err != nil {
		t.Fatal(err)
	}
	if accept4 != nil {
		e.accept4 = accept4
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.serve(ctx, http.NotFoundHandler()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, addr
}

// exhausted is how often that became of connections that could not be taken.
func exhausted(t *testing.T, r *prometheus.Registry, outcome string) float64 {
	t.Helper()
	return counted(t, r, "accept_exhausted_total", outcome)
}

// counted is the counter of that name, with that label if it has one.
func counted(t *testing.T, r *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "tallystream_fanout_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

const liveHandshake = "GET /v1/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

func answerTo(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		return err.Error() // closed already: what it said is lost
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
	}
}

// Without a descriptor left, the spare one serves to tell those who knock;
// and the engine goes on when there are descriptors again.
func TestWithoutADescriptorNewViewersAreToldToComeBack(t *testing.T) {
	var none atomic.Bool
	var calls atomic.Int64
	registry := prometheus.NewRegistry()
	s, addr := startEpoll(t, Config{Metrics: NewMetrics(registry)}, func(fd int) (int, unix.Sockaddr, error) {
		if none.Load() && calls.Add(1)%2 == 1 { // the second call of each pair has the spare descriptor
			return -1, nil, unix.EMFILE
		}
		return acceptSocket(fd)
	})
	if got := answerTo(t, addr, liveHandshake); got != "HTTP/1.1 101 Switching Protocols" {
		t.Fatal(got)
	}
	none.Store(true)
	answerTo(t, addr, "") // its answer may be lost when the socket is closed
	eventually(t, func() bool { return exhausted(t, registry, "refused") >= 1 })
	none.Store(false)
	if got := answerTo(t, addr, liveHandshake); got != "HTTP/1.1 101 Switching Protocols" {
		t.Error(got)
	}
	if n := s.hub.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// When even that fails, the listener rests: the engine does not spin.
func TestAListenerThatCannotAcceptRests(t *testing.T) {
	var none atomic.Bool
	var calls atomic.Int64
	registry := prometheus.NewRegistry()
	_, addr := startEpoll(t, Config{Metrics: NewMetrics(registry)}, func(fd int) (int, unix.Sockaddr, error) {
		if none.Load() {
			calls.Add(1)
			return -1, nil, unix.ENFILE
		}
		return acceptSocket(fd)
	})
	none.Store(true)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	paused := func() float64 { return exhausted(t, registry, "paused") }
	eventually(t, func() bool { return paused() >= 3 })
	none.Store(false)
	if n, most := float64(calls.Load()), 2*(paused()+1); n > most {
		t.Errorf("%v calls of accept4 in %v pauses, want at most %v", n, paused(), most)
	}
	if got := answerTo(t, addr, liveHandshake); got != "HTTP/1.1 101 Switching Protocols" {
		t.Error(got)
	}
}

func TestOfTooManyHandshakesTheOldestEnd(t *testing.T) {
	s, addr := startEpoll(t, Config{Limits: Limits{Handshakes: 4, HandshakeTimeout: time.Hour}}, nil)
	var begun []net.Conn
	for range 30 + 4*runtime.GOMAXPROCS(0) { // a loop keeps one or more open, and there are as many as processors
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begun = append(begun, c)
	}
	for _, c := range begun[:30] {
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, " 408 ") {
			t.Fatalf("%q %v", line, err)
		}
	}
	if got := answerTo(t, addr, liveHandshake); got != "HTTP/1.1 101 Switching Protocols" {
		t.Error(got)
	}
	if n := s.hub.Sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestPagesHaveALimitOfTheirOwn(t *testing.T) {
	_, addr := startEpoll(t, Config{Limits: Limits{PageConnections: 2}}, nil)
	const page = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for range 2 {
		if got := answerTo(t, addr, page); got != "HTTP/1.1 404 Not Found" {
			t.Fatal(got)
		}
	}
	if got := answerTo(t, addr, page); got != "HTTP/1.1 503 Service Unavailable" {
		t.Error(got)
	}
	if got := answerTo(t, addr, liveHandshake); got != "HTTP/1.1 101 Switching Protocols" {
		t.Error(got)
	}
}

// FuzzHandshake: whatever comes as a request, it is answered, handed over or
// closed, and the next viewer is let in.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte(liveHandshake))
	f.Add([]byte("GET /v1/live?g=contest/c&e=1&v=2 HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("GET /v1/liv"))
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("\x16\x03\x01"))
	s, err := New(Config{Engine: Epoll})
	if err != nil {
		f.Fatal(err)
	}
	l, err := Listen(f.Context(), "127.0.0.1:0", 1, false)
	if err != nil {
		f.Fatal(err)
	}
	addr := l[0].Addr().String()
	e, err := newEpoll(s, l)
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.serve(ctx, http.NotFoundHandler()) }()
	f.Cleanup(func() {
		cancel()
		<-done
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(b)
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("%q is neither answered nor closed", b)
		}
		c.Close()
		if got := answerTo(t, addr, liveHandshake); got != "HTTP/1.1 101 Switching Protocols" {
			t.Fatal(got)
		}
	})
}

// A socket that takes nothing is waited for, not asked again and again, and one
// that took everything is not asked at all: meanwhile the loops, which look at
// the clock once a round, stand still.
func TestALoopDoesNotSpinForASocketThatIsFullOrWas(t *testing.T) {
	var looks atomic.Int64
	registry := prometheus.NewRegistry()
	s, addr := startEpoll(t, Config{Metrics: NewMetrics(registry), Now: func() time.Time {
		looks.Add(1)
		return time.Now()
	}}, nil)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, strings.Replace(liveHandshake, "/v1/live", "/v1/live?g=contest/c&e=1&v=1", 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return s.hub.Sessions() == 1 })
	d := schemas.Delta{Epoch: 1, Document: keyed, From: 1, To: 2, Log: 2, Lines: [][]byte{
		fmt.Appendf(nil, `{"contest":"c","unit":"u1","reporting":1,"units":1,"votes":{"%s":[1]}}`, strings.Repeat("a", 16<<20)),
	}}
	s.OnDelta(d.AppendFrame(nil))
	eventually(t, func() bool { return counted(t, registry, "frame_bytes_total", "") > 16<<20 }) // the loop has begun to write it
	rests := func(when string) {
		t.Helper()
		before := looks.Load()
		time.Sleep(300 * time.Millisecond) // a loop that spins goes round thousands of times
		if n := looks.Load() - before; n > 100 {
			t.Errorf("%s: %d looks at the clock while there was nothing to do", when, n)
		}
	}
	rests("full")
	if n := s.hub.Sessions(); n != 1 {
		t.Fatalf("%d sessions: the viewer went", n)
	}
	if _, err := io.CopyN(io.Discard, c, 16<<20); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, c) // the rest of it, until the test ends
	rests("empty again")
}
