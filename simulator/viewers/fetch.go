package viewers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// fetcher gets snapshots for sampled viewers, each object once for all of a
// process: objects never change, and a cache in front of the bucket is what
// viewers of a real night have.
type fetcher struct {
	base   string
	client *http.Client
	slots  chan struct{}

	mu      sync.Mutex // guards the rest
	cache   map[string][]byte
	past    map[string][]byte
	cached  int // bytes in cache
	pending map[string][]want
	done    []fetched
	loads   uint64
}

type fetched struct {
	want want
	body []byte // the want's own
	err  error
}

const (
	fetchesAtOnce = 4
	fetchTimeout  = 30 * time.Second
	maxBody       = 64 << 20
	maxCached     = 64 << 20
)

func newFetcher(bucket string) *fetcher {
	return &fetcher{
		base: strings.TrimSuffix(bucket, "/") + "/", client: &http.Client{Timeout: fetchTimeout, CheckRedirect: stay}, slots: make(chan struct{}, fetchesAtOnce),
		cache: map[string][]byte{}, past: map[string][]byte{}, pending: map[string][]want{},
	}
}

// mostRedirects of one request.
const mostRedirects = 5

// stay follows redirects within a host: the guard has seen no other.
func stay(next *http.Request, before []*http.Request) error {
	if next.URL.Hostname() != before[0].URL.Hostname() {
		return fmt.Errorf("it leads to %s: %w", next.URL.Hostname(), ErrStranger)
	}
	if len(before) > mostRedirects {
		return errors.New("it leads on and on")
	}
	return nil
}

// fetch begins to get what is wanted, and returns at once.
func (f *fetcher) fetch(ctx context.Context, w want) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := w.snap.Key
	for _, known := range []map[string][]byte{f.cache, f.past} {
		if body, ok := known[key]; ok {
			f.done = append(f.done, fetched{want: w, body: bytes.Clone(body)})
			return
		}
	}
	f.pending[key] = append(f.pending[key], w)
	if len(f.pending[key]) == 1 {
		go f.load(ctx, key)
	}
}

func (f *fetcher) load(ctx context.Context, key string) {
	f.slots <- struct{}{}
	defer func() { <-f.slots }()
	body, err := f.get(ctx, key)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loads++
	for _, w := range f.pending[key] {
		f.done = append(f.done, fetched{w, bytes.Clone(body), err})
	}
	delete(f.pending, key)
	if err != nil {
		return
	}
	if f.cached += len(body); f.cached > maxCached {
		f.past, f.cache, f.cached = f.cache, map[string][]byte{}, len(body)
	}
	f.cache[key] = body
}

func (f *fetcher) get(ctx context.Context, key string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.base+key, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", key, err)
	}
	res, err := f.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", key, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching %s: %s", key, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", key, err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("fetching %s: more than %d bytes", key, maxBody)
	}
	return body, nil
}

// take returns what has come since the last call, and how many objects were
// asked for over the network.
func (f *fetcher) take() (done []fetched, loads uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	done, loads, f.done, f.loads = f.done, f.loads, nil, 0
	return done, loads
}

// serve hands the crowd what has come, and takes what it wants.
func (f *fetcher) serve(ctx context.Context, c *crowd) {
	done, loads := f.take()
	c.tally.Fetches += loads
	for _, d := range done {
		c.fetched(d.want, d.body, d.err)
	}
	for _, w := range c.wants {
		f.fetch(ctx, w)
	}
	c.wants = c.wants[:0]
}
