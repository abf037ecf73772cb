package bucket

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of a bucket.
type Metrics struct {
	putObjects      prometheus.Counter
	keptObjects     prometheus.Counter
	replacedObjects prometheus.Counter
	putBytes        prometheus.Counter
	putFailed       prometheus.Counter
	putSeconds      prometheus.Histogram
	putBatch        prometheus.Histogram

	served      *prometheus.CounterVec
	servedOK    prometheus.Counter
	servedSame  prometheus.Counter
	servedNone  prometheus.Counter
	servedBytes prometheus.Counter
	cacheHits   prometheus.Counter
	cacheMisses prometheus.Counter
}

// NewMetrics registers the metrics of one bucket.
func NewMetrics(r prometheus.Registerer) *Metrics {
	name := func(n string) string { return "tallystream_bucket_" + n }
	objects := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name("objects_total"),
		Help: "Objects written durably, by way: new (put at a free key), kept (the same bytes were there), replaced.",
	}, []string{"way"})
	cache := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name("cache_total"),
		Help: "Look-ups of an object to serve, by where it was: memory or file.",
	}, []string{"source"})
	m := &Metrics{
		putObjects:      objects.WithLabelValues("new"),
		keptObjects:     objects.WithLabelValues("kept"),
		replacedObjects: objects.WithLabelValues("replaced"),
		cacheHits:       cache.WithLabelValues("memory"),
		cacheMisses:     cache.WithLabelValues("file"),
		putBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("written_bytes_total"),
			Help: "Bytes of the objects written.",
		}),
		putFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("write_failures_total"),
			Help: "Batches that failed: other bytes at a key, or a file system or service that refuses.",
		}),
		putSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("write_seconds"),
			Help:    "Time of one batch, until it is on disk or S3 has it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}),
		putBatch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("write_objects"),
			Help:    "Objects of one batch.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
		served: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("responses_total"),
			Help: "HTTP responses, by outcome: object, not-modified, not-found, refused (method), failed.",
		}, []string{"outcome"}),
		servedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("response_bytes_total"),
			Help: "Bytes of whole objects sent from memory, as they went over the wire.",
		}),
	}
	m.servedOK = m.served.WithLabelValues("object")
	m.servedSame = m.served.WithLabelValues("not-modified")
	m.servedNone = m.served.WithLabelValues("not-found")
	r.MustRegister(objects, cache, m.putBytes, m.putFailed, m.putSeconds, m.putBatch, m.served, m.servedBytes)
	return m
}

// written is what a batch has come to.
type written struct{ objects, kept, bytes int }

// countBatch counts a batch, of which some objects were there before.
func countBatch(batch []*Object, kept []bool) (w written) {
	w.objects = len(batch)
	for i, o := range batch {
		if kept[i] {
			w.kept++
		} else {
			w.bytes += len(o.Body)
		}
	}
	return w
}

// put counts a batch.
func (m *Metrics) put(w written, over bool, began time.Time, err error) {
	if err != nil {
		m.putFailed.Inc()
		return
	}
	way := m.putObjects
	if over {
		way = m.replacedObjects
	}
	way.Add(float64(w.objects - w.kept))
	m.keptObjects.Add(float64(w.kept))
	m.putBytes.Add(float64(w.bytes))
	m.putSeconds.Observe(time.Since(began).Seconds())
	m.putBatch.Observe(float64(w.objects))
}
