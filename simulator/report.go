package simulator

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"
)

// Report is what a rehearsal leaves behind, as JSON.
type Report struct {
	Election    string      `json:"election"`
	Seed        uint64      `json:"seed"`
	Units       int         `json:"units"`
	Contests    int         `json:"contests"` // counted once in each county that votes on them
	Submissions Submissions `json:"submissions"`
	// Seconds from the first submission until every viewer could see the last
	// one in a signed snapshot. Generating the election and its keys comes
	// before, closing (CSV, pages) after.
	Seconds              float64      `json:"seconds"`
	ClosingSeconds       float64      `json:"closing_seconds"`
	SubmissionsPerSecond float64      `json:"submissions_per_second"`
	Latency              Latencies    `json:"latency_ms"`
	Viewers              ViewerReport `json:"viewers"`
	Reconciled           bool         `json:"reconciled"`
	Mismatches           []string     `json:"mismatches"`
	Checked              int          `json:"checked"` // sums compared
	Warnings             []Warning    `json:"warnings,omitempty"`
	Snapshots            uint64       `json:"snapshots"`
	CPUSeconds           float64      `json:"cpu_seconds"`
	PeakRSS              uint64       `json:"peak_rss_bytes"`
	BytesPerUnit         uint64       `json:"bytes_per_unit"` // live heap after the night, less that before it
	Stages               []StageCost  `json:"stages,omitempty"`
	Calibration          Calibration  `json:"calibration"`
}

// Warning is something in imported results that people should know of.
type Warning struct {
	Kind string `json:"kind"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

// String is the warning on one line.
func (w Warning) String() string {
	switch {
	case w.Line > 0:
		return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text)
	case w.File != "":
		return w.File + ": " + w.Text
	}
	return w.Text
}

// Submissions counts what became of what was sent.
type Submissions struct {
	Sent      uint64         `json:"sent"`
	Accepted  uint64         `json:"accepted"`  // receipts of different submissions
	Duplicate uint64         `json:"duplicate"` // receipts of repeats
	Refused   uint64         `json:"refused"`
	Held      uint64         `json:"held"`
	Counted   uint64         `json:"counted"` // in the log and not held: counts, or a later revision took its place
	Retries   uint64         `json:"retries"`
	ByProblem map[string]int `json:"by_problem,omitempty"`
	ByHold    map[string]int `json:"by_hold,omitempty"`
}

// Latencies of the night in milliseconds.
type Latencies struct {
	Receipt  Quantiles `json:"receipt"`  // sent -> receipt in hand
	Live     Quantiles `json:"live"`     // receipt in hand -> in a viewer's hands
	Snapshot Quantiles `json:"snapshot"` // receipt in hand -> in a signed snapshot
}

// Quantiles of a latency, in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// ViewerReport sums over the rehearsal's viewers.
type ViewerReport struct {
	Count          int    `json:"count"`
	Class          string `json:"class"` // what they measure: every delta, or what the public gets
	Deltas         uint64 `json:"deltas"`
	Resyncs        uint64 `json:"resyncs"`
	HashMismatches uint64 `json:"hash_mismatches"`
}

// Write stores the report in a file.
func (r *Report) Write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

// histogram counts durations in buckets that grow by an eighth, so that memory
// does not grow with submissions and quantiles are right to 12%.
type histogram struct {
	mu      sync.Mutex // guards all below
	buckets [400]uint64
	n       uint64
	most    time.Duration
}

const (
	bucketBase  = 10 * time.Microsecond
	bucketGrow  = 1.125
	microsMilli = 1e6 // nanoseconds in a millisecond
)

var bucketLog = math.Log(bucketGrow)

func (h *histogram) add(d time.Duration) {
	i := 0
	if d > bucketBase {
		i = min(int(math.Log(float64(d)/float64(bucketBase))/bucketLog)+1, len(h.buckets)-1)
	}
	h.mu.Lock()
	h.buckets[i]++
	h.n++
	h.most = max(h.most, d)
	h.mu.Unlock()
}

func (h *histogram) quantiles() Quantiles {
	h.mu.Lock()
	defer h.mu.Unlock()
	most := float64(h.most) / microsMilli
	at := func(q float64) float64 {
		if h.n == 0 {
			return 0
		}
		rank, sum := uint64(math.Ceil(q*float64(h.n))), uint64(0)
		i := slices.IndexFunc(h.buckets[:], func(n uint64) bool { sum += n; return sum >= rank })
		upper := float64(bucketBase) * math.Pow(bucketGrow, float64(i)) / microsMilli
		return math.Round(min(upper, most)*100) / 100
	}
	return Quantiles{P50: at(0.5), P99: at(0.99), Max: math.Round(most*100) / 100}
}
