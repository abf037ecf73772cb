package viewer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"tallystream/schemas"
)

// Config of a Client.
type Config struct {
	// Live is the server, such as "ws://127.0.0.1:8083" or
	// "https://live.example.org/v1/live".
	Live string
	// Bucket is the URL under which snapshots lie.
	Bucket    string
	Documents []schemas.DocumentID
	// Key opens the connection as media: it gets every version, and may follow
	// AllDocuments.
	Key string

	// OnChange is called after each change of a document, from Run's
	// goroutine, which waits for it: a client that is slow here gets fewer
	// and larger deltas.
	OnChange func(Change)
	// OnState is called when the connection comes or goes, and with each ping.
	OnState func(State)

	HTTP    *http.Client   // default: one of its own
	Random  func() float64 // for jitter; default math/rand
	Logger  *slog.Logger   // default: nothing
	MaxBody int64          // of a document; default 64 MiB
}

// Change is one step of a document.
type Change struct {
	Document *Document // as it is now; valid while OnChange runs
	Lines    [][]byte  // that the delta brought; nil after a snapshot was fetched
	Log      schemas.LogSize
	Micros   int64 // the publisher's time in the delta; 0 after a snapshot
}

// State is how a client fares.
type State struct {
	Connected bool
	Epoch     schemas.Epoch
	Log       schemas.LogSize
	Snapshot  schemas.SnapshotNumber
	Err       error // why the connection went
}

// Stats count what a client has seen.
type Stats struct {
	Deltas     uint64 // applied
	Dropped    uint64 // that said nothing new
	Fetches    uint64 // of snapshots
	Resyncs    uint64 // fetches or questions because something was missing
	Mismatches uint64 // hashes that were not as stated
	Connects   uint64
	Bytes      uint64 // of frames
}

// Client follows documents until its context ends.
type Client struct {
	cfg  Config
	live string
	log  *slog.Logger

	mu   sync.Mutex // guards docs and what they hold; Run's goroutine writes
	docs map[schemas.DocumentID]*Document

	deltas, dropped, fetches, resyncs, mismatches, connects, bytes atomic.Uint64
}

// Bounds of a client.
const (
	maxFrame       = 16 << 20
	defaultMaxBody = 64 << 20
	silence        = 60 * time.Second // three pings: then the connection is dead
	dialTimeout    = 10 * time.Second
	fetchTimeout   = 30 * time.Second
	leastRetry     = 250 * time.Millisecond
	mostRetry      = 15 * time.Second
)

// New checks the configuration. Run does the work.
func New(cfg Config) (*Client, error) {
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{}
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = defaultMaxBody
	}
	if len(cfg.Documents) == 0 {
		return nil, errors.New("viewer: no documents")
	}
	live, err := liveURL(cfg.Live)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(cfg.Bucket); err != nil || cfg.Bucket == "" {
		return nil, fmt.Errorf("viewer: bucket %q: want a URL", cfg.Bucket)
	}
	cfg.Bucket = strings.TrimSuffix(cfg.Bucket, "/") + "/"
	c := &Client{cfg: cfg, live: live, log: cfg.Logger, docs: map[schemas.DocumentID]*Document{}}
	for _, g := range cfg.Documents {
		if g != schemas.AllDocuments {
			c.docs[g] = NewDocument(g)
		}
	}
	return c, nil
}

// liveURL completes the address of a live server.
func liveURL(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("viewer: live server %q: want a URL such as ws://host:port", address)
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return "", fmt.Errorf("viewer: live server %q: want ws, wss, http or https", address)
	}
	if !strings.HasSuffix(u.Path, "/v1/live") {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/v1/live"
	}
	return u.String(), nil
}

// Stats are the counts so far.
func (c *Client) Stats() Stats {
	return Stats{
		Deltas: c.deltas.Load(), Dropped: c.dropped.Load(), Fetches: c.fetches.Load(), Resyncs: c.resyncs.Load(),
		Mismatches: c.mismatches.Load(), Connects: c.connects.Load(), Bytes: c.bytes.Load(),
	}
}

// Copy is a document as it is now: its bytes, version and hash. It may be
// called while Run runs.
func (c *Client) Copy(g schemas.DocumentID) (body []byte, at schemas.Version, hash schemas.Digest, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.docs[g]
	if d == nil || !d.known {
		return nil, 0, schemas.Digest{}, false
	}
	return bytes.Clone(d.body), d.version, d.hash, true
}

// Hash is the hash of a document as it is now.
func (c *Client) Hash(g schemas.DocumentID) (schemas.Digest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.docs[g]
	if d == nil || !d.known {
		return schemas.Digest{}, false
	}
	return d.hash, true
}

// Run follows the documents until ctx ends, and connects again as often as it
// must.
func (c *Client) Run(ctx context.Context) error {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		l := &line{client: c}
		err := l.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if l.good {
			attempt = 0
		}
		wait := c.backoff(attempt)
		if l.bye != nil {
			wait = time.Duration(l.bye.Milliseconds) * time.Millisecond
			attempt = 0
		}
		c.log.Debug("live connection lost", "err", err, "retry", wait)
		c.tell(State{Err: err})
		select {
		case <-ctx.Done():
		case <-time.After(min(wait, mostRetry)):
		}
	}
	return nil
}

// backoff doubles from attempt to attempt; half of it is left to chance, so
// that viewers who were cut off together do not come back together.
func (c *Client) backoff(attempt int) time.Duration {
	most := min(leastRetry<<min(attempt, 10), mostRetry)
	return most/2 + time.Duration(c.cfg.Random()*float64(most/2))
}

func (c *Client) tell(s State) {
	if c.cfg.OnState != nil {
		c.cfg.OnState(s)
	}
}

// fetch gets the bytes that a snap names.
func (c *Client) fetch(ctx context.Context, s *schemas.Snap) ([]byte, error) {
	c.fetches.Add(1)
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.Bucket+s.Key, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", s.Document, err)
	}
	response, err := c.cfg.HTTP.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", s.Document, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching %s: %s answers %s", s.Document, s.Key, response.Status)
	}
	var body bytes.Buffer
	body.Grow(int(min(max(response.ContentLength, 0), c.cfg.MaxBody)) + bytes.MinRead)
	n, err := body.ReadFrom(io.LimitReader(response.Body, c.cfg.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", s.Document, err)
	}
	if n > c.cfg.MaxBody {
		return nil, fmt.Errorf("fetching %s: more than %d bytes", s.Document, c.cfg.MaxBody)
	}
	return body.Bytes(), nil
}

// dial opens the WebSocket.
func (c *Client) dial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	header := http.Header{}
	if c.cfg.Key != "" {
		// Not in the query, which proxies write into their logs.
		header.Set("Authorization", "Bearer "+c.cfg.Key)
	}
	ws, response, err := websocket.Dial(ctx, c.live, &websocket.DialOptions{HTTPClient: c.cfg.HTTP, HTTPHeader: header})
	if err != nil {
		if response != nil {
			return nil, fmt.Errorf("connecting to the live server: %s: %w", response.Status, err)
		}
		return nil, fmt.Errorf("connecting to the live server: %w", err)
	}
	ws.SetReadLimit(maxFrame)
	c.connects.Add(1)
	return ws, nil
}
