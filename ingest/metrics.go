package ingest

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/schemas"
)

// Metrics of the submission API.
type Metrics struct {
	acceptedNew, acceptedAgain, releases, answers prometheus.Counter
	refusals                                      map[schemas.ProblemCode]prometheus.Counter
	receiptSeconds                                prometheus.Observer
	stages                                        stages
	inFlight, connections                         prometheus.Gauge
	turnedAway                                    prometheus.Counter

	behind  atomic.Pointer[func() Lag]
	samples atomic.Uint64
}

// stages hold one histogram each part of a submission's way. One submission in
// sampleEvery is measured: a clock reading costs as much as a check.
type stages struct {
	read, gate, decode, verify, resolve, append, receipt prometheus.Observer
}

// sampleEvery is how many submissions there are to one that is measured by stage.
const sampleEvery = 32

// NewMetrics registers the metrics of one Server.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := new(Metrics)
	outcomes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tallystream_ingest_requests_total",
		Help: "Requests by outcome: accepted, repeated (a receipt given again), release (a receipt for one), answered (a state or the key), or the problem's code.",
	}, []string{"outcome"})
	m.acceptedNew = outcomes.WithLabelValues("accepted")
	m.acceptedAgain = outcomes.WithLabelValues("repeated")
	m.releases = outcomes.WithLabelValues("release")
	m.answers = outcomes.WithLabelValues("answered")
	m.refusals = make(map[schemas.ProblemCode]prometheus.Counter, len(kinds))
	for code := range kinds {
		m.refusals[code] = outcomes.WithLabelValues(string(code))
	}
	receipt := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "tallystream_ingest_receipt_seconds",
		Help:    "Time from the end of a request's header to its receipt.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
	})
	m.receiptSeconds = receipt
	stage := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tallystream_ingest_stage_seconds",
		Help:    "Time a submission spends in each stage of ingest, of one submission in 32.",
		Buckets: prometheus.ExponentialBuckets(0.000_005, 4, 10),
	}, []string{"stage"})
	m.stages = stages{
		read: stage.WithLabelValues("read"), gate: stage.WithLabelValues("gate"), decode: stage.WithLabelValues("decode"),
		verify: stage.WithLabelValues("verify"), resolve: stage.WithLabelValues("resolve"),
		append: stage.WithLabelValues("append"), receipt: stage.WithLabelValues("receipt"),
	}
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tallystream_ingest_in_flight", Help: "Submissions and releases being checked or stored now.",
	})
	m.connections = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tallystream_ingest_connections", Help: "Open connections.",
	})
	m.turnedAway = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tallystream_ingest_connections_refused_total", Help: "Connections closed at once because too many were open.",
	})
	behind := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tallystream_ingest_behind_records", Help: "Records in the stream that are not yet in the ledger.",
	}, m.readBehind)
	registry.MustRegister(outcomes, receipt, stage, m.inFlight, m.connections, m.turnedAway, behind)
	return m
}

func (m *Metrics) watch(behind func() Lag) { m.behind.Store(&behind) }

func (m *Metrics) readBehind() float64 {
	if f := m.behind.Load(); f != nil {
		return float64((*f)().Records)
	}
	return 0
}

func (m *Metrics) refused(code schemas.ProblemCode) { m.refusals[code].Inc() }

func (m *Metrics) answered() { m.answers.Inc() }

func (m *Metrics) accepted(repeated bool, took time.Duration) {
	if repeated {
		m.acceptedAgain.Inc()
	} else {
		m.acceptedNew.Inc()
	}
	m.receiptSeconds.Observe(took.Seconds())
}

// laps measures the stages of one submission; nil measures nothing.
type laps struct {
	now  func() time.Time
	last time.Time
}

// sample begins to measure one submission in sampleEvery.
func (m *Metrics) sample(started time.Time, now func() time.Time) *laps {
	if m.samples.Add(1)%sampleEvery != 1 {
		return nil
	}
	return &laps{now: now, last: started}
}

// lap ends a stage and begins the next.
func (l *laps) lap(stage prometheus.Observer) {
	if l == nil {
		return
	}
	now := l.now()
	stage.Observe(now.Sub(l.last).Seconds())
	l.last = now
}
