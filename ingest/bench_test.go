package ingest_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"tallystream/ingest"
	"tallystream/schemas"
)

// nullStream keeps nothing.
type nullStream struct{}

func (nullStream) Append(context.Context, schemas.Partition, []byte) (schemas.Checkpoint, error) {
	return 1, nil
}

// nullWriter is a response nobody reads.
type nullWriter struct{ header http.Header }

func (w nullWriter) Header() http.Header         { return w.header }
func (w nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w nullWriter) WriteHeader(int)             {}

// BenchmarkReceive is all of a submission but HTTP and the stream.
func BenchmarkReceive(b *testing.B) {
	o := newBench(b, func(c *ingest.Config) { c.Stream = nullStream{} })
	envelope := o.seal(b, 1, o.body(b, 1), "official-leon")
	o.config.Limits.KeyRate = -1
	o.config.Metrics = newMetrics()
	s, err := ingest.New(o.config)
	if err != nil {
		b.Fatal(err)
	}
	h := s.Handler()
	r := httptest.NewRequest(http.MethodPost, ingest.SubmissionsPath, nil)
	r.ContentLength = int64(len(envelope))
	reader := bytes.NewReader(envelope)
	r.Body = io.NopCloser(reader)
	w := nullWriter{http.Header{}}
	b.ReportAllocs()
	b.SetBytes(int64(len(envelope)))
	for b.Loop() {
		reader.Reset(envelope)
		h.ServeHTTP(w, r)
	}
}
