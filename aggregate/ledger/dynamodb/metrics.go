package dynamodb

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the ledger's table.
type Metrics struct {
	transactions prometheus.Counter
	units        prometheus.Counter
	retries      *prometheus.CounterVec
}

// NewMetrics creates and registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	const space, part = "tallystream", "ledger_table"
	m := &Metrics{
		transactions: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: space, Subsystem: part, Name: "transactions_total", Help: "Transactions that the table took."}),
		units: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: space, Subsystem: part, Name: "write_units_total", Help: "Write capacity units that transactions consumed."}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: part, Name: "failures_total", Help: "Tries that failed, by reason."}, []string{"reason"}),
	}
	r.MustRegister(m.transactions, m.units, m.retries)
	return m
}

func (m *Metrics) committed(consumed []types.ConsumedCapacity) {
	m.transactions.Inc()
	for i := range consumed {
		m.units.Add(aws.ToFloat64(consumed[i].CapacityUnits))
	}
}
