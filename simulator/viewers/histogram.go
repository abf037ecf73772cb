package viewers

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"time"
)

// Histogram counts durations in buckets that are a sixteenth of their octave
// wide, so that quantiles are right to about 6% from a microsecond to hours, and
// those of several processes can be added.
type Histogram struct {
	counts [histogramBuckets]uint64
	n      uint64
	most   time.Duration
}

const (
	octaveBits       = 4 // a sixteenth
	histogramOctaves = 40
	histogramBuckets = histogramOctaves << octaveBits
)

// bucketOf is the bucket of a number of microseconds.
func bucketOf(micros uint64) int {
	if micros < 1<<octaveBits {
		return int(micros)
	}
	octave := bits.Len64(micros) - octaveBits - 1
	i := (octave+1)<<octaveBits + int(micros>>octave)&(1<<octaveBits-1)
	return min(i, histogramBuckets-1)
}

// bucketEnd is the largest number of microseconds in a bucket.
func bucketEnd(i int) uint64 {
	if i < 1<<octaveBits {
		return uint64(i)
	}
	octave := i>>octaveBits - 1
	return (uint64(1<<octaveBits+i&(1<<octaveBits-1)+1))<<octave - 1
}

// Add counts d; below zero counts as zero.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0).Microseconds()))]++
	h.n++
	h.most = max(h.most, d)
}

// Merge adds what another histogram counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.n += o.n
	h.most = max(h.most, o.most)
}

// Since is what was counted after before, an earlier state of h. Its largest
// value is known to its bucket only.
func (h *Histogram) Since(before *Histogram) Histogram {
	out := Histogram{n: h.n - before.n}
	for i := range h.counts {
		if out.counts[i] = h.counts[i] - before.counts[i]; out.counts[i] > 0 {
			out.most = min(time.Duration(bucketEnd(i))*time.Microsecond, h.most)
		}
	}
	return out
}

// Count is how many durations were counted.
func (h *Histogram) Count() uint64 { return h.n }

// Quantile is the least duration that a share q of all does not exceed.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank, sum := uint64(q*float64(h.n)), uint64(0)
	if float64(rank) < q*float64(h.n) || rank == 0 {
		rank++
	}
	for i, n := range h.counts {
		if sum += n; sum >= rank {
			return min(time.Duration(bucketEnd(i))*time.Microsecond, h.most)
		}
	}
	return h.most
}

// Quantiles of a histogram, in milliseconds.
type Quantiles struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// Quantiles are what reports say of the histogram.
func (h *Histogram) Quantiles() Quantiles {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Quantiles{
		Count: h.n, P50: ms(h.Quantile(0.5)), P90: ms(h.Quantile(0.9)), P99: ms(h.Quantile(0.99)), P999: ms(h.Quantile(0.999)), Max: ms(h.most),
	}
}

// histogramJSON holds the buckets that are not empty as [bucket, count].
type histogramJSON struct {
	Most    int64       `json:"most"` // microseconds
	Buckets [][2]uint64 `json:"buckets"`
}

// MarshalJSON implements json.Marshaler.
func (h Histogram) MarshalJSON() ([]byte, error) {
	out := histogramJSON{Most: h.most.Microseconds(), Buckets: [][2]uint64{}}
	for i, n := range h.counts {
		if n > 0 {
			out.Buckets = append(out.Buckets, [2]uint64{uint64(i), n})
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var in histogramJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("reading histogram: %w", err)
	}
	*h = Histogram{most: time.Duration(in.Most) * time.Microsecond}
	for _, e := range in.Buckets {
		if e[0] >= histogramBuckets {
			return fmt.Errorf("reading histogram: bucket %d, want below %d", e[0], histogramBuckets)
		}
		h.counts[e[0]] += e[1]
		h.n += e[1]
	}
	return nil
}
