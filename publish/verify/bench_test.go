package verify_test

import (
	"testing"

	"tallystream/publish/verify"
)

// BenchmarkVerify verifies the small night of the tests; what one submission costs
// at its size of 0.8 KB is the metric.
func BenchmarkVerify(b *testing.B) {
	n := play(b)
	if n == nil {
		b.Skip("the night is played by a test only: run with -run ARealNight")
	}
	for b.Loop() {
		if r, _ := check(b, verify.Options{Source: n.late}); r.Verdict != verify.Verified {
			b.Fatal(print(r))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(leavesOf(b, n.late))), "us/leaf")
}
