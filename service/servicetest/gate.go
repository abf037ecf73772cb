package servicetest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Gate stands before ingest and lets through as many submissions as it was opened
// for. Those that come later wait, so how far a night has come is for the test to
// say, whatever the machine's speed.
type Gate struct {
	URL string

	proxy    *httputil.ReverseProxy
	patience time.Duration

	mu     sync.Mutex // guards below
	free   int        // how many more may pass
	lost   int
	opened chan struct{} // closed, and made anew, whenever free grows
}

// largest is more than any submission has.
const largest = 1 << 20

// StartGate opens a shut gate before what answers at a URL. A submission that has
// waited for patience passes nevertheless; 0 is as long as it takes.
func StartGate(t testing.TB, ingest string, patience time.Duration) *Gate {
	t.Helper()
	at, err := url.Parse(ingest)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{patience: patience, opened: make(chan struct{})}
	g.proxy = &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(at) },
		ErrorHandler: g.unanswered,
		ErrorLog:     slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s := httptest.NewServer(g)
	g.URL = s.URL
	t.Cleanup(func() {
		g.OpenWide()
		s.CloseClientConnections()
		s.Close()
	})
	return g
}

// Open lets n more submissions through.
func (g *Gate) Open(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free += n
	close(g.opened)
	g.opened = make(chan struct{})
}

// OpenWide lets all through that will ever come.
func (g *Gate) OpenWide() { g.Open(1 << 40) }

// Lost is how many submissions passed that ingest did not answer.
func (g *Gate) Lost() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lost
}

// unanswered tells the client to come again, and does not count what it sent.
func (g *Gate) unanswered(w http.ResponseWriter, _ *http.Request, _ error) {
	g.mu.Lock()
	g.lost++
	g.mu.Unlock()
	g.Open(1)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusServiceUnavailable)
}

// ServeHTTP holds a submission until it may pass.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// It is read first: a client that goes away is noticed only then.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largest))
	if err != nil || !g.pass(r.Context()) {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.proxy.ServeHTTP(w, r)
}

// pass waits; it is false when the client has gone away.
func (g *Gate) pass(ctx context.Context) bool {
	var impatient <-chan time.Time
	if g.patience > 0 {
		impatient = time.After(g.patience)
	}
	for {
		g.mu.Lock()
		if g.free > 0 {
			g.free--
			g.mu.Unlock()
			return true
		}
		opened := g.opened
		g.mu.Unlock()
		select {
		case <-opened:
		case <-impatient:
			return true
		case <-ctx.Done():
			return false
		}
	}
}
