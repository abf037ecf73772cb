package stream

import "github.com/prometheus/client_golang/prometheus"

// Metrics of a stream, on either side of it.
type Metrics struct {
	stored    prometheus.Counter
	busy      prometheus.Counter
	failed    prometheus.Counter
	unknown   prometheus.Counter
	withdrawn prometheus.Counter

	storedBytes   prometheus.Counter
	groupRecords  prometheus.Histogram
	commitSeconds prometheus.Histogram
	appendSeconds prometheus.Histogram
	queueRecords  prometheus.Gauge
	checkpoint    prometheus.Gauge

	readsMemory    prometheus.Counter
	readsFile      prometheus.Counter
	tailBytes      prometheus.Gauge
	backfill       prometheus.Histogram
	backfillFailed prometheus.Counter
	walBytes       prometheus.Gauge
}

// NewMetrics registers the metrics of one stream.
func NewMetrics(r prometheus.Registerer) *Metrics {
	name := func(n string) string { return "tallystream_stream_" + n }
	appends := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name("appends_total"),
		Help: "Records handed to the stream, by outcome: stored, busy (queue full), failed (certainly not stored), unknown (perhaps stored), withdrawn (the caller gave up first).",
	}, []string{"outcome"})
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name("read_records_total"),
		Help: "Records read, by source: memory (recent records) or file (the reader lags or is another process).",
	}, []string{"source"})
	m := &Metrics{
		stored:    appends.WithLabelValues("stored"),
		busy:      appends.WithLabelValues("busy"),
		failed:    appends.WithLabelValues("failed"),
		unknown:   appends.WithLabelValues("unknown"),
		withdrawn: appends.WithLabelValues("withdrawn"),
		storedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("stored_bytes_total"),
			Help: "Bytes of the records stored.",
		}),
		groupRecords: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("group_records"),
			Help:    "Records that share one transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("commit_seconds"),
			Help:    "Time of one transaction, from its begin until it is on disk.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		appendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("append_seconds"),
			Help:    "Time of one stored record, from the queue's entrance until it is on disk.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		queueRecords: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: name("queue_records"),
			Help: "Records that wait for a transaction.",
		}),
		checkpoint: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: name("last_checkpoint"),
			Help: "Newest durable checkpoint that this process knows of.",
		}),
		readsMemory: reads.WithLabelValues("memory"),
		readsFile:   reads.WithLabelValues("file"),
		tailBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: name("memory_bytes"),
			Help: "Bytes of recent records kept in memory for readers.",
		}),
		backfill: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("backfill_seconds"),
			Help:    "Time of one copying of the write-ahead log into the main file, beside the appends.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		backfillFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("backfill_failures_total"),
			Help: "Copyings of the write-ahead log that failed. The log grows until one succeeds; nothing is lost.",
		}),
		walBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: name("wal_bytes"),
			Help: "Size of the write-ahead log in use at the last copying.",
		}),
	}
	r.MustRegister(appends, reads, m.storedBytes, m.groupRecords, m.commitSeconds, m.appendSeconds, m.queueRecords,
		m.checkpoint, m.tailBytes, m.backfill, m.backfillFailed, m.walBytes)
	return m
}
