package lease

import "github.com/prometheus/client_golang/prometheus"

// Metrics of a keeper.
type Metrics struct {
	held      prometheus.Gauge
	changes   *prometheus.CounterVec
	conflicts prometheus.Counter
}

// NewMetrics registers the metrics of one keeper; with nil they go nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tallystream_lease_held", Help: "Names that this process believes to hold.",
		}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tallystream_lease_changes_total",
			Help: "Names that changed hands, by way: free (taken, nobody held it), dead (taken from one that stopped), idle (taken above the share), given (given up).",
		}, []string{"way"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tallystream_lease_conflicts_total", Help: "Swaps of leases that came too late.",
		}),
	}
	for _, way := range ways {
		m.changes.WithLabelValues(way)
	}
	if r != nil {
		r.MustRegister(m.held, m.changes, m.conflicts)
	}
	return m
}

var ways = map[act]string{takeFree: "free", takeDead: "dead", takeIdle: "idle", giveUp: "given"}

func (m *Metrics) taken(a act) { m.changes.WithLabelValues(ways[a]).Inc() }

func (m *Metrics) given() { m.changes.WithLabelValues(ways[giveUp]).Inc() }

func (m *Metrics) conflict() { m.conflicts.Inc() }
