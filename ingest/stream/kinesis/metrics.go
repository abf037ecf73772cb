package kinesis

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the Kinesis stream, on either side of it.
type Metrics struct {
	stored    prometheus.Counter
	busy      prometheus.Counter
	failed    prometheus.Counter
	unknown   prometheus.Counter
	withdrawn prometheus.Counter

	storedBytes   prometheus.Counter
	putRecords    prometheus.Histogram
	putSeconds    prometheus.Histogram
	appendSeconds prometheus.Histogram
	queueRecords  prometheus.Gauge
	putRetries    *prometheus.CounterVec

	readRecords prometheus.Counter
	readBytes   prometheus.Counter
	polls       *prometheus.CounterVec
	foreign     prometheus.Counter
	expired     prometheus.Counter
	shardsEnded prometheus.Counter
	behind      *prometheus.GaugeVec
}

// NewMetrics registers the metrics of one stream. Those that mean the same as
// in the embedded stream have the same names.
func NewMetrics(r prometheus.Registerer) *Metrics {
	name := func(n string) string { return "tallystream_stream_" + n }
	appends := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name("appends_total"),
		Help: "Records handed to the stream, by outcome: stored, busy (queue full or throttled too long), failed (certainly not stored), unknown (perhaps stored), withdrawn (the caller gave up first).",
	}, []string{"outcome"})
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
		putRecords: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("group_records"),
			Help:    "Records that share one PutRecords request.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		putSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("put_seconds"),
			Help:    "Time of one PutRecords request, whatever came of it.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 13),
		}),
		appendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    name("append_seconds"),
			Help:    "Time of one stored record, from the queue's entrance until Kinesis has acknowledged it.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 14),
		}),
		queueRecords: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: name("queue_records"),
			Help: "Records that are not acknowledged yet: waiting, on their way, or between two tries.",
		}),
		putRetries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("put_retries_total"),
			Help: "Records put again, by reason: throttled (the shard's or the account's limit), unreachable (no connection), internal (Kinesis failed), transport (no answer).",
		}, []string{"reason"}),
		readRecords: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("read_records_total"),
			Help: "Records read from shards, those behind a partition's position included.",
		}),
		readBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("read_bytes_total"),
			Help: "Bytes of the records read from shards.",
		}),
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("polls_total"),
			Help: "Reads of shards, by outcome: records, empty, throttled, expired (iterator), failed; pushed is an event of enhanced fan-out.",
		}, []string{"outcome"}),
		foreign: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("foreign_records_total"),
			Help: "Records that no ingest of this election wrote: their partition key is no partition, or not one of their shard. They are passed over.",
		}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("expired_shards_total"),
			Help: "Times that an operator's order let a partition pass over shards that expired unread. Records may have been lost.",
		}),
		shardsEnded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("shards_ended_total"),
			Help: "Closed shards read to their end.",
		}),
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: name("behind_seconds"),
			Help: "How far a shard's reader is behind its newest record, as Kinesis says. Records are lost at the stream's retention.",
		}, []string{"shard"}),
	}
	r.MustRegister(appends, m.storedBytes, m.putRecords, m.putSeconds, m.appendSeconds, m.queueRecords, m.putRetries,
		m.readRecords, m.readBytes, m.polls, m.foreign, m.expired, m.shardsEnded, m.behind)
	return m
}
