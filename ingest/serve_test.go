package ingest_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tallystream/ingest"
	"tallystream/schemas"
)

// serve runs b's server on a loopback address until the test ends or stop is
// called; stop returns what Serve did.
func serve(t *testing.T, b *bench) (address string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.server.Serve(ctx, l) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-served
	}
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

// talk sends text over a connection of its own and returns all that comes back
// until the server closes.
func talk(t *testing.T, address, text string) string {
	t.Helper()
	c := dial(t, address)
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		t.Logf("read: %v", err) // a reset closes too
	}
	return string(b)
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSlowLorisClientsAreCutOff(t *testing.T) {
	b := newBench(t, func(c *ingest.Config) { c.Limits.ReadTimeout = 200 * time.Millisecond })
	b.stream.forbid = true
	address, _ := serve(t, b)
	if got := talk(t, address, "POST /v1/submissions HTTP/1.1\r\nHost: x\r\nX-A: "); got != "" {
		t.Errorf("a slow header is answered: %s", got)
	}
	var got string
	for got == "" { // on a busy machine the header itself may come too late
		got = talk(t, address, "POST /v1/submissions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nslowly")
	}
	if !strings.HasPrefix(got, "HTTP/1.1 408 ") || !strings.Contains(got, schemas.ProblemTimeout.URI()) {
		t.Errorf("a slow body got %q, want problem %s", got, schemas.ProblemTimeout)
	}
}

func TestALargeBodyIsRefusedUnread(t *testing.T) {
	b := newBench(t, nil)
	b.stream.forbid = true
	address, _ := serve(t, b)
	// Nothing of the body is ever sent: an answer shows that nobody waits for it.
	got := talk(t, address, "POST /v1/submissions HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 413 ") || !strings.Contains(got, schemas.ProblemTooLarge.URI()) {
		t.Errorf("got %q, want problem %s", got, schemas.ProblemTooLarge)
	}
}

func TestABodyThatEndsEarlyIsMalformed(t *testing.T) {
	b := newBench(t, nil)
	b.stream.forbid = true
	address, _ := serve(t, b)
	c := dial(t, address)
	defer c.Close()
	if _, err := io.WriteString(c, "POST /v1/submissions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nshort"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
		t.Errorf("got %q, %v; want 400", got, err)
	}
}

func TestConnectionsAreLimitedInAllAndByAddress(t *testing.T) {
	for name, l := range map[string]ingest.Limits{
		"in all":     {Connections: 2, ReadTimeout: time.Minute},
		"by address": {AddressConns: 2, ReadTimeout: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *ingest.Config) { c.Limits = l })
			address, _ := serve(t, b)
			open := []net.Conn{keyFrom(t, address), keyFrom(t, address)}
			if got := talk(t, address, "GET /v1/key HTTP/1.1\r\nHost: x\r\n\r\n"); got != "" && !strings.HasPrefix(got, "HTTP/1.1 503 ") {
				t.Errorf("the third connection got %q", got)
			}
			// A closed connection makes room, as soon as the server has seen it.
			_ = open[0].Close()
			for {
				got := talk(t, address, "GET /v1/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				if strings.HasPrefix(got, "HTTP/1.1 200 ") {
					break
				}
			}
			_ = open[1].Close()
		})
	}
}

// keyFrom asks for the key on a connection and keeps it open.
func keyFrom(t *testing.T, address string) net.Conn {
	t.Helper()
	c := dial(t, address)
	if _, err := io.WriteString(c, "GET /v1/key HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("key: %v, %v", res, err)
	}
	_ = res.Body.Close()
	return c
}

func TestAnAddressThatFailsTooOftenIsRefused(t *testing.T) {
	b := newBench(t, func(c *ingest.Config) { c.Limits.FailureRate, c.Limits.FailureBurst = 0.001, 3 })
	address, _ := serve(t, b)
	var codes []int
	for range 5 {
		// Each from a new connection: the address is remembered, not the connection.
		res := postTo(t, address, b.seal(t, 1, b.body(t, 1), "stranger"))
		codes = append(codes, res.StatusCode)
		if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After is %q, want 60", res.Header.Get("Retry-After"))
		}
	}
	if got, want := fmt.Sprint(codes), "[403 403 403 429 429]"; got != want {
		t.Errorf("statuses %s, want %s", got, want)
	}
}

func postTo(t *testing.T, address string, envelope []byte) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+address+ingest.SubmissionsPath, bytes.NewReader(envelope))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", ingest.MediaType)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

func TestDrainFinishesWhatIsInFlightAndTakesNothingNew(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	b := newBench(t, nil)
	b.stream.hold, b.stream.entered = make(chan struct{}), make(chan struct{}, 1)
	address, stop := serve(t, b)
	status := make(chan int, 1)
	go func() { status <- postTo(t, address, b.seal(t, 1, b.body(t, 1), "official-leon")).StatusCode }()
	<-b.stream.entered
	drained := make(chan error, 1)
	go func() { drained <- stop() }()
	for b.server.Ready() == nil { // until it says that it drains
		time.Sleep(time.Millisecond)
	}
	for { // and its listener is closed
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a submission in flight: %v", err)
	default:
	}
	close(b.stream.hold)
	if got := <-status; got != http.StatusOK {
		t.Errorf("the submission in flight got %d, want its receipt", got)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestDrainEndsInTime(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	b := newBench(t, func(c *ingest.Config) { c.Limits.Drain = 20 * time.Millisecond })
	b.stream.hold, b.stream.entered = make(chan struct{}), make(chan struct{}, 1)
	address, stop := serve(t, b)
	c := dial(t, address)
	defer c.Close()
	envelope := b.seal(t, 1, b.body(t, 1), "official-leon")
	if _, err := fmt.Fprintf(c, "POST /v1/submissions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(envelope), envelope); err != nil {
		t.Fatal(err)
	}
	<-b.stream.entered
	if err := stop(); err == nil {
		t.Error("a drain that ran out of time does not say so")
	}
	got, _ := io.ReadAll(c) // an answer or not, but no receipt
	if strings.Contains(string(got), "200 OK") || b.stream.count() != 0 {
		t.Errorf("got %q with %d records", got, b.stream.count())
	}
}
