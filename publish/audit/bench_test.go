package audit_test

import (
	"testing"

	"tallystream/publish/audit"
)

// BenchmarkLedger counts a state's night again, without what is published:
// signatures, decoding twice, the rules, and sums.
func BenchmarkLedger(b *testing.B) {
	cfg := aNight(b, "state").open(b)
	cfg.Bucket = nil
	entries := uint64(0)
	for b.Loop() {
		r, err := audit.Run(b.Context(), cfg)
		if err != nil || r.Found != 0 {
			b.Fatalf("%v, %+v", err, r)
		}
		entries += r.Entries
	}
	b.ReportMetric(float64(entries)/b.Elapsed().Seconds(), "submissions/s")
}
