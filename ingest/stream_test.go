package ingest_test

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// TestConcurrentSubmissionsGetTheirOwnReceipts sends through many connections'
// worth of goroutines into the real stream: desks and buffers are shared, but
// nobody's bytes are, and after a restart the stream holds all that has a receipt.
func TestConcurrentSubmissionsGetTheirOwnReceipts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stream.db")
	open := func() *stream.SQLite {
		s, err := stream.OpenSQLite(stream.Config{Path: path, Metrics: stream.NewMetrics(prometheus.NewRegistry())})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	records := open()
	b := newBench(t, func(c *ingest.Config) {
		c.Stream = records
		c.Busy = func(err error) bool { return errors.Is(err, stream.ErrBusy) }
	})
	const senders, each = 8, 10
	sent := make([][]byte, senders*each)
	for i := range sent {
		revision := schemas.Revision(i + 1)
		sent[i] = b.seal(t, revision, b.body(t, revision), "official-leon")
	}
	answers := make([]*httptest.ResponseRecorder, len(sent))
	var all sync.WaitGroup
	for k := range senders {
		all.Go(func() {
			for i := k * each; i < (k+1)*each; i++ {
				answers[i] = b.post(sent[i])
			}
		})
	}
	all.Wait()
	for i := range sent {
		b.receipt(t, answers[i], sent[i])
	}
	if err := records.Close(); err != nil {
		t.Fatal(err)
	}
	records = open()
	defer records.Close()
	held, err := records.Read(t.Context(), 0, len(sent)+1)
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != len(sent) {
		t.Fatalf("%d records, want %d", len(held), len(sent))
	}
	for _, envelope := range sent {
		found := false
		for i := range held {
			found = found || bytes.Equal(held[i].Bytes, envelope)
		}
		if !found {
			t.Errorf("a submission with a receipt is not in the stream")
		}
	}
}
