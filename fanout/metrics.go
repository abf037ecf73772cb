package fanout

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the live tier.
type Metrics struct {
	deltas        *prometheus.CounterVec
	announcements *prometheus.CounterVec
	unreadable    prometheus.Counter
	restated      prometheus.Counter
	documents     prometheus.Gauge
	subscriptions prometheus.Gauge
	connections   *prometheus.GaugeVec
	refused       *prometheus.CounterVec
	closed        *prometheus.CounterVec
	frames        prometheus.Counter
	bytes         prometheus.Counter
	onBus         prometheus.Histogram
	toViewer      prometheus.Histogram
	write         prometheus.Histogram
	exhausted     *prometheus.CounterVec
	handedOver    prometheus.Counter
	keys          *keyMetrics
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	const space, part = "tallystream", "fanout"
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help}, []string{label})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	seconds := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: space, Subsystem: part, Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		})
		r.MustRegister(h)
		return h
	}
	m := &Metrics{
		deltas:        counters("deltas_total", "Deltas taken from the bus, by what became of them.", "outcome"),
		announcements: counters("announcements_total", "Announcements of published documents, by what became of them.", "outcome"),
		unreadable:    counter("unreadable_total", "Messages from the bus that are not of our formats."),
		restated:      counter("restated_total", "Documents taken from the bucket because the bus lost their announcement."),
		documents:     gauge("documents", "Documents that are known or followed."),
		subscriptions: gauge("subscriptions", "Pairs of a connection and a document that it follows."),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: space, Subsystem: part, Name: "connections", Help: "Open connections, by kind.",
		}, []string{"kind"}),
		refused:  counters("refused_total", "Connections refused, by reason.", "reason"),
		closed:   counters("closed_total", "Connections ended, by reason.", "reason"),
		frames:   counter("frames_total", "Frames written to viewers."),
		bytes:    counter("frame_bytes_total", "Bytes of frames written to viewers."),
		onBus:    seconds("bus_seconds", "Time from the publisher's clock reading in a delta until the hub had it."),
		toViewer: seconds("delivery_seconds", "Time from the publisher's clock reading in a delta until it was written to a viewer."),
		write:    seconds("write_seconds", "Time that a viewer took for what its socket did not take at once."),
	}
	m.exhausted = counters("accept_exhausted_total", "Times that no connection could be taken, by what was done: refused or paused.", "outcome")
	m.handedOver = counter("handed_over_total", "Connections that the epoll engine handed to the HTTP server: pages and events.")
	r.MustRegister(m.connections)
	m.keys = newKeyMetrics(r)
	return m
}
