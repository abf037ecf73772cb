package kinesis_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/service/cloud"
)

// handClock stands still but for who sleeps by it. One goroutine may use it.
type handClock struct{ now time.Time }

func newHandClock() *handClock { return &handClock{time.Date(2026, 11, 3, 19, 0, 0, 0, time.UTC)} }

func (c *handClock) Now() time.Time { return c.now }

func (c *handClock) Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() == nil {
		c.now = c.now.Add(d)
	}
	return ctx.Err()
}

// quickClock runs faster than the real one, for tests over connections, where
// nobody can say when all wait.
type quickClock struct {
	began time.Time
	times time.Duration
}

func newQuickClock(times int) quickClock { return quickClock{time.Now(), time.Duration(times)} }

func (c quickClock) Now() time.Time { return c.began.Add(time.Since(c.began) * c.times) }

func (c quickClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d / c.times)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// served serves a stream over HTTP and gives the SDK's clients of it.
func served(t *testing.T, s *kinesistest.Service, wrap ...func(http.RoundTripper) http.RoundTripper) *cloud.Clients {
	t.Helper()
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	options := []cloud.Option{cloud.WithKeys("test", "test")}
	for _, w := range wrap {
		options = append(options, cloud.WithHTTP(w))
	}
	c, err := cloud.Open(t.Context(), cloud.Options{Endpoint: server.URL, Region: cloud.EmulatorRegion, Prefix: "tallystream"}, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// numbers gives each partition's records texts in order.
type numbers struct {
	mu   sync.Mutex
	next map[int]int
}

func (n *numbers) text(p int) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = map[int]int{}
	}
	n.next[p]++
	return fmt.Appendf(nil, "partition %d record %d", p, n.next[p])
}

var _ kinesis.Clock = (*handClock)(nil)
