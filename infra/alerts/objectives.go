// Package alerts holds what the deployment promises its operators to notice: the
// objectives, the Prometheus rules that watch them (rules.yaml) with their unit
// tests (rules_test.yaml), and the dashboards.
//
// Invariant: each objective has an alert in rules.yaml and an alarm in infra/tofu,
// each of these names a runbook that exists, and every metric that they or a
// dashboard name is one that the code registers.
package alerts

// Objective is what must hold over a night, and how it is seen.
type Objective struct {
	Name  string   // as in the label `slo` of alerts and the tag Slo of alarms
	Goal  string   // in a sentence
	Alert []string // in rules.yaml; empty: CloudWatch and the function see it alone
}

// Objectives of a night.
var Objectives = []Objective{
	{"ingest-availability", "999 of 1,000 well-formed submissions get an answer that is no server error.", []string{"IngestFails", "StreamRefuses", "ReleasePointerFails"}},
	{"receipt-latency", "99 of 100 receipts come within a second.", []string{"ReceiptsSlow"}},
	{"counting-lag", "A submission is in the ledger 30 seconds after its receipt.", []string{"CountingLags", "CountingRestarts"}},
	{"snapshot-freshness", "The newest snapshot is never older than two minutes.", []string{"SnapshotOld", "PublisherStopped", "PublicationPaused", "BucketRefuses"}},
	{"exactness", "The ledger's tallies and the publisher's own count never differ.", []string{"DoubleEntryBroken", "ForeignBytes"}},
	{"delivery-latency", "99 of 100 deltas reach viewers within half a second of their tick.", []string{"DeliverySlow", "BusLost", "BusPeersLost", "ViewersRefused"}},
	{"page-availability", "999 of 1,000 requests for pages get an answer that is no server error.", nil},
	{"verification", "Every snapshot verifies from public files.", nil},
}

// Find returns the objective of a name.
func Find(name string) (Objective, bool) {
	for _, o := range Objectives {
		if o.Name == name {
			return o, true
		}
	}
	return Objective{}, false
}
