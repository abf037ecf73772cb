package edge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is many people's browsers at an edge: requests start at a fixed rate,
// whether answers come or not, as far as its connections reach.
type crowd struct {
	edge  string // socket of the edge
	rate  float64
	lasts time.Duration
	seed  uint64

	http    *http.Client
	begun   time.Time
	started atomic.Int64
	history history
	pages   []string // of contests, the most popular first
	county  string
	tally   tally
}

// tally is what the crowd met.
type tally struct {
	mu       sync.Mutex
	requests int64
	failed   map[string]int
	bytes    int64
	late     time.Duration // behind the rate at worst
	oldest   time.Duration // how long ago the oldest `latest` that was given had been replaced
	waits    []time.Duration
}

// connections is how many people's requests are under way at once, at most.
const connections = 64

func (c *crowd) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", c.edge)
}

// meet runs the crowd to its end.
func (c *crowd) meet(ctx context.Context) {
	c.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: c.dial, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}}
	defer c.http.CloseIdleConnections()
	c.tally.failed = map[string]int{}
	c.begun = time.Now()
	var people sync.WaitGroup
	for i := range connections {
		people.Go(func() {
			p := &person{crowd: c, draw: rand.New(rand.NewPCG(c.seed, uint64(i)))}
			for p.visit(ctx) {
			}
		})
	}
	people.Wait()
}

// person is one after another of them.
type person struct {
	*crowd
	draw *rand.Rand
}

// visit is what one browser does that comes by a link, the front page's files and
// live script included: the script asks for `latest` and for the document of the page.
// Half look at their county, a third at a contest; most stay for a while.
func (p *person) visit(ctx context.Context) bool {
	link := fmt.Sprintf("/?utm_source=push&fbclid=%d", p.draw.Uint64())
	page, ok := p.ask(ctx, link)
	if !ok {
		return false
	}
	for _, asset := range assetKeys.FindAllString(string(page), 8) {
		if _, ok = p.ask(ctx, "/"+asset); !ok {
			return false
		}
	}
	asks := []string{"/config.json", "/latest", "election"}
	if p.draw.IntN(2) == 0 {
		asks = append(asks, p.county, "/latest", "county")
	}
	if p.draw.IntN(3) == 0 {
		// Popularity falls off as it does everywhere: the n-th is asked for 1/n as often.
		n := rand.NewZipf(p.draw, 1.1, 1, uint64(len(p.pages)-1)).Uint64()
		asks = append(asks, p.pages[n], "/latest")
	}
	for range p.draw.IntN(6) {
		asks = append(asks, "/latest")
	}
	for _, path := range asks {
		switch path {
		case "election", "county":
			path = p.history.document(path)
		}
		if _, ok = p.ask(ctx, path); !ok {
			return false
		}
	}
	return true
}

var assetKeys = regexp.MustCompile(`assets/[0-9a-f]{2}/[0-9a-f]{64}\.(css|js)`)

// ask sends the next request of all, when it is due; ok is false after the last.
func (p *person) ask(ctx context.Context, path string) (body []byte, ok bool) {
	due := time.Duration(float64(p.started.Add(1)-1) / p.rate * float64(time.Second))
	if due >= p.lasts || ctx.Err() != nil {
		return nil, false
	}
	early := due - time.Since(p.begun)
	if early > 0 {
		time.Sleep(early) // this is the crowd's own clock
	}
	sent := time.Now()
	body, err := p.get(ctx, path)
	p.note(path, body, err, sent, -early)
	return body, true
}

func (p *person) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://edge"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = hostNames[Results]
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "Mozilla/5.0")
	req.Header.Set("Cookie", fmt.Sprintf("_ga=%d", p.draw.Uint64()))
	res, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, res.Body)
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := io.ReadAll(res.Body)
	if err == nil && res.Header.Get("Content-Encoding") == "gzip" && strings.HasPrefix(path, "/?") {
		body, err = gunzip(body)
	}
	return body, err
}

func (p *person) note(path string, body []byte, err error, sent time.Time, late time.Duration) {
	var age time.Duration
	if path == "/latest" && err == nil {
		age = p.history.age(body, sent)
	}
	t := &p.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	t.bytes += int64(len(body))
	t.late, t.oldest = max(t.late, late), max(t.oldest, age)
	t.waits = append(t.waits, time.Since(sent))
	if err != nil {
		t.failed[err.Error()]++
	}
}

// wait is the quantile of the waits.
func (t *tally) wait(q float64) time.Duration {
	slices.Sort(t.waits)
	return t.waits[int(q*float64(len(t.waits)-1))]
}

// history is what the bucket itself had at `latest`, and until when.
type history struct {
	mu        sync.Mutex
	notes     [][]byte
	replaced  map[string]time.Time
	documents map[string]string // paths of the newest, by name
}

func (h *history) document(name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.documents[name]
}

// saw notes what the bucket has now.
func (h *history) saw(note []byte, documents map[string]string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.notes); n > 0 {
		if bytes.Equal(h.notes[n-1], note) {
			return
		}
		h.replaced[string(h.notes[n-1])] = now
	}
	h.notes, h.documents = append(h.notes, note), documents
}

// age is how long before a request the note that it got had been replaced. The newest
// has none, nor has one that is so new that the history has yet to see it.
func (h *history) age(note []byte, sent time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at, ok := h.replaced[string(note)]; ok {
		return max(0, sent.Sub(at))
	}
	return 0
}
