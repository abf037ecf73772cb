package publish

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tallystream/schemas"
)

// Metrics of the publisher.
type Metrics struct {
	entries   *prometheus.CounterVec
	holds     *prometheus.GaugeVec
	logSize   prometheus.Gauge
	readTime  prometheus.Histogram
	tickTime  prometheus.Histogram
	tickEvery prometheus.Gauge

	deltas      prometheus.Counter
	deltaBytes  prometheus.Counter
	deltasLarge prometheus.Counter
	announceErr prometheus.Counter

	snapshot      prometheus.Gauge
	snapshotLog   prometheus.Gauge
	snapshotTime  prometheus.Histogram
	snapshotStamp prometheus.Gauge
	documents     prometheus.Counter
	bytes         *prometheus.CounterVec
	exportTime    prometheus.Histogram
	pagesTime     prometheus.Histogram
	tiles         prometheus.Counter
	treeSize      prometheus.Gauge
	logTime       prometheus.Histogram
	cosignatures  *prometheus.CounterVec
	bucketErr     prometheus.Counter
	ledgerErr     prometheus.Counter

	epoch    prometheus.Gauge
	balanced prometheus.Gauge
	stopped  prometheus.Gauge
	paused   prometheus.Gauge
}

// NewMetrics registers the publisher's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	const ns, sub = "tallystream", "publish"
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
	}
	seconds := func(name, help string) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 17)}) // to 33 s
	}
	m := &Metrics{
		entries: f.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "entries_total",
			Help: "Ledger entries taken into the publisher's own books, by kind."}, []string{"kind"}),
		holds: f.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "held",
			Help: "Submissions that were held at the last cut and neither released nor superseded, by reason."}, []string{"hold"}),
		logSize:   gauge("log_size", "Size of the public log with all ledger entries that are in the publisher's own books."),
		readTime:  seconds("read_seconds", "Time to take new ledger entries into the books."),
		tickTime:  seconds("tick_seconds", "Time of the double entry, rendering and sending of deltas for one cut."),
		tickEvery: gauge("tick_interval_seconds", "Interval between delta ticks that the last tick's cost allows."),

		deltas:      counter("deltas_total", "Deltas handed to the bus."),
		deltaBytes:  counter("delta_bytes_total", "Bytes of the deltas handed to the bus."),
		deltasLarge: counter("deltas_left_out_total", "Deltas that were too large to send; viewers take the next snapshot."),
		announceErr: counter("announce_errors_total", "Deltas and announcements that the bus did not take."),

		snapshot:      gauge("snapshot_number", "Number of the newest snapshot published."),
		snapshotLog:   gauge("snapshot_log_size", "Log size of the newest snapshot published."),
		snapshotTime:  seconds("snapshot_seconds", "Time to write one snapshot, from the first document to latest."),
		snapshotStamp: gauge("snapshot_timestamp_seconds", "Time of the newest snapshot, seconds since 1970."),
		documents:     counter("documents_total", "Documents written."),
		bytes: f.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "written_bytes_total",
			Help: "Bytes written to the bucket, by kind of object."}, []string{"kind"}),
		exportTime: seconds("export_seconds", "Time to write CSV files and unit lines once."),
		pagesTime:  seconds("pages_seconds", "Time to write the changed pages once."),
		tiles:      counter("tiles_total", "Tiles and entry bundles of the public log written, partial ones too."),
		treeSize:   gauge("log_tree_size", "Leaves of the public log in the newest checkpoint."),
		logTime:    seconds("log_seconds", "Time from deciding a snapshot to latest: tiles, checkpoint, note."),
		cosignatures: f.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "cosignatures_total",
			Help: "Cosignatures of checkpoints asked of witnesses, by witness and whether they came in time."}, []string{"witness", "outcome"}),
		bucketErr: counter("bucket_errors_total", "Writes to the bucket that failed and were tried again."),
		ledgerErr: counter("ledger_errors_total", "Readings of the ledger that failed and were tried again."),

		epoch:    gauge("epoch", "Epoch of this sequencer."),
		balanced: gauge("double_entry_balanced", "1 while the ledger's tallies equal the publisher's own, 0 after they did not."),
		stopped:  gauge("stopped", "1 after the sequencer stopped for good, 0 before."),
		paused:   gauge("paused", "1 while a pause stands in the log: no number moves. 0 otherwise."),
	}
	for _, code := range schemas.HoldCodes {
		m.holds.WithLabelValues(string(code))
	}
	m.balanced.Set(1)
	return m
}
