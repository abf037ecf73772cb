package aggregate

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/schemas"
)

// Metrics of the aggregator. What a transaction did is counted once it is
// durable.
type Metrics struct {
	records    *prometheus.CounterVec
	outcomes   [len(outcomeNames)]prometheus.Counter
	holds      *prometheus.CounterVec
	size       prometheus.Histogram
	partitions prometheus.Histogram
	fold       prometheus.Histogram
	commit     prometheus.Histogram
	load       prometheus.Histogram
	restarts   *prometheus.CounterVec
	lookups    prometheus.Counter
	reloads    prometheus.Counter
	lagRecords prometheus.GaugeFunc
	lagSeconds prometheus.GaugeFunc

	mu      sync.Mutex
	watched *Aggregator // whose lag is shown; guarded by mu
}

// NewMetrics creates and registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	const space, part = "tallystream", "aggregate"
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: space, Subsystem: part, Name: name, Help: help, Buckets: buckets})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help}, []string{label})
	}
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 15) // 0.5 ms to 8 s
	m := &Metrics{
		records:    counters("records_total", "Records of the stream folded and committed, by outcome.", "outcome"),
		holds:      counters("holds_total", "Submissions and releases held, by reason.", "reason"),
		size:       histogram("batch_records", "Records in one ledger transaction.", prometheus.ExponentialBuckets(1, 2, 12)),
		partitions: histogram("batch_partitions", "Partitions in one ledger transaction.", prometheus.ExponentialBuckets(1, 2, 12)),
		fold:       histogram("fold_seconds", "Time to decode and fold the records of one read of the stream.", seconds),
		commit:     histogram("commit_seconds", "Time of one ledger transaction, durable at its end.", seconds),
		load:       histogram("load_seconds", "Time to load heads, rows and units from the ledger.", seconds),
		restarts:   counters("restarts_total", "Times that memory was thrown away and loaded again, by reason: conflict (another process wrote), lost (the ledger has fewer entries than it had) or error.", "reason"),
		lookups:    counter("lookups_total", "Records that needed the unit's ledger entries: submissions, to tell repeats from conflicts, and releases."),
		reloads:    counter("rows_read_again_total", "Counted rows of units that were read again from the stream after a start."),
	}
	gauge := func(name, help string, value func(*Aggregator) float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: name, Help: help}, func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.watched == nil {
				return 0
			}
			return value(m.watched)
		})
	}
	m.lagRecords = gauge("lag_records", "Records in the stream that are known not to be in the ledger yet.", func(a *Aggregator) float64 {
		records, _ := a.Behind()
		return float64(records)
	})
	m.lagSeconds = gauge("lag_seconds", "Age of the oldest record that is not in the ledger yet, since it was first seen in the stream.", func(a *Aggregator) float64 {
		_, age := a.Behind()
		return age.Seconds()
	})
	for o, name := range outcomeNames {
		m.outcomes[o] = m.records.WithLabelValues(name)
	}
	for _, code := range schemas.HoldCodes {
		m.holds.WithLabelValues(string(code))
	}
	r.MustRegister(m.records, m.holds, m.size, m.partitions, m.fold, m.commit, m.load, m.restarts, m.lookups, m.reloads, m.lagRecords, m.lagSeconds)
	return m
}

func (m *Metrics) watch(a *Aggregator) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched = a
}

// batchTally is what the micro-batch at hand will have done.
type batchTally struct {
	records  int
	outcomes [len(outcomeNames)]int
	holds    map[schemas.HoldCode]int
}

func (t *batchTally) add(o Outcome, hold schemas.HoldCode) {
	t.records++
	t.outcomes[o]++
	if hold != "" {
		if t.holds == nil {
			t.holds = map[schemas.HoldCode]int{}
		}
		t.holds[hold]++
	}
}

// passed counts what is in the ledger now.
func (m *Metrics) passed(t *batchTally) {
	for o, n := range t.outcomes {
		if n > 0 {
			m.outcomes[o].Add(float64(n))
		}
	}
	for hold, n := range t.holds {
		m.holds.WithLabelValues(string(hold)).Add(float64(n))
	}
}

// committed describes one transaction.
func (m *Metrics) committed(partitions, records int, took time.Duration) {
	m.size.Observe(float64(records))
	m.partitions.Observe(float64(partitions))
	m.commit.Observe(took.Seconds())
}
