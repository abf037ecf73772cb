package bus

import "github.com/prometheus/client_golang/prometheus"

// Metrics of one connection to the bus.
type Metrics struct {
	sent       *prometheus.CounterVec
	sentBytes  prometheus.Counter
	sendErrors prometheus.Counter
	received   *prometheus.CounterVec
	unreadable prometheus.Counter
	lost       prometheus.Counter
	reconnects prometheus.Counter
	connected  prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	const space, part = "tallystream", "bus"
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	byKind := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help}, []string{"kind"})
		r.MustRegister(c)
		return c
	}
	m := &Metrics{
		sent:       byKind("sent_total", "Messages handed to the bus, by kind."),
		sentBytes:  counter("sent_bytes_total", "Bytes of deltas and announcements handed to the bus."),
		sendErrors: counter("send_errors_total", "Messages that the bus did not take."),
		received:   byKind("received_total", "Messages that the bus delivered, by kind."),
		unreadable: counter("unreadable_total", "Messages that were delivered but are not of our formats."),
		lost:       counter("lost_stretches_total", "Stretches of messages that the bus dropped because this process was too slow."),
		reconnects: counter("reconnects_total", "Times that the connection came back after it was lost."),
		connected:  prometheus.NewGauge(prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: "connected", Help: "1 while connected to the bus."}),
	}
	r.MustRegister(m.connected)
	return m
}

// Register registers the server's own metric.
func (s *Server) Register(r prometheus.Registerer) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "tallystream", Subsystem: "bus", Name: "peers", Help: "Other servers of the bus's cluster that this process's server is linked to.",
	}, func() float64 { return float64(s.Peers()) }))
}
