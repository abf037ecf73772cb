package log_test

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
)

// bigLeaves are n leaves of the size that a submission with 30 contests has.
func bigLeaves(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = append(fmt.Appendf(nil, "%08d", i), bytes.Repeat([]byte{'x'}, 5000)...)
	}
	return out
}

// BenchmarkAppend appends ticks of a state's night; bytes are those of the new
// leaves, "written" those of the objects.
func BenchmarkAppend(b *testing.B) {
	for _, batch := range []int{1, 50, 1000} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			edge := grow(b, &log.Edge{}, newStore(), bigLeaves(128)...)
			leaves := bigLeaves(batch)
			written := 0
			b.SetBytes(int64(batch * len(leaves[0])))
			for b.Loop() {
				next, objects, err := edge.Append(leaves...)
				if err != nil {
					b.Fatal(err)
				}
				for _, o := range objects {
					written += len(o.Body)
				}
				_ = next
			}
			b.ReportMetric(float64(written)/float64(b.N), "written/op")
		})
	}
}

// BenchmarkEntries reads a log of 20,000 leaves of 5 KB and checks every one
// against the root; "leaf-ns" is wall time a leaf. BenchmarkRecordHash is the
// floor: hashing alone, on one core.
func BenchmarkEntries(b *testing.B) {
	const n = 20_000
	s := newStore()
	edge := grow(b, &log.Edge{}, s, bigLeaves(n)...)
	b.SetBytes(n * 5008)
	for b.Loop() {
		count := 0
		for _, err := range log.NewReader(s, edge.Tree()).Entries(b.Context(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			count++
		}
		if count != n {
			b.Fatal(count)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "leaf-ns")
}

func BenchmarkRecordHash(b *testing.B) {
	leaf := bigLeaves(1)[0]
	b.SetBytes(int64(len(leaf)))
	for b.Loop() {
		tlog.RecordHash(leaf)
	}
}
