package bucket

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkEncode says what storing NDJSON compressed costs and saves. The
// lines are those of a county's document: 30 contests with some selections.
func BenchmarkEncode(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	var body []byte
	for len(body) < 28_000 {
		body = fmt.Appendf(body, `{"contest":"house-%d","county":"county-%04d","type":"election-day","ballots":%d,"votes":{"democrat":%d,"republican":%d,"libertarian":%d}}`+"\n",
			random.IntN(30), random.IntN(3000), random.IntN(90000), random.IntN(40000), random.IntN(40000), random.IntN(2000))
	}
	b.SetBytes(int64(len(body)))
	var stored []byte
	for b.Loop() {
		stored, _ = encode(body, "application/x-ndjson")
	}
	b.ReportMetric(float64(len(body))/float64(len(stored)), "times-smaller")
}
