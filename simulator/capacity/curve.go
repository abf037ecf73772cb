package capacity

import (
	"fmt"
	"time"

	"tallystream/simulator/elections"
	"tallystream/simulator/script"
)

// Curves by which submissions arrive.
const (
	Measured = "measured" // those of simulator/script, of the general election of 2020
	Flat     = "flat"     // as many each minute
	OneHour  = "one-hour" // everything within an hour
)

// peakBin is the time over which a peak counts: shorter ones are smoothed by
// the stream.
const peakBin = 5 * time.Minute

// PeakFactor is the busiest bin of arrivals against the average over a span.
func PeakFactor(at []time.Duration, span, bin time.Duration) float64 {
	if len(at) == 0 || span < bin || bin <= 0 {
		return 1
	}
	counts := make([]int, span/bin+1)
	most := 0
	for _, t := range at {
		k := min(max(int(t/bin), 0), len(counts)-1)
		counts[k]++
		most = max(most, counts[k])
	}
	return max(1, float64(most)/float64(len(at))*float64(span)/float64(bin))
}

// factorOf is the peak factor of a curve over a night of so many hours.
func factorOf(curve string, hours float64, revisions int) (float64, error) {
	span := time.Duration(hours * float64(time.Hour))
	switch curve {
	case Flat:
		return 1, nil
	case OneHour:
		return max(1, hours), nil
	case Measured:
		return measuredFactor(span, revisions)
	}
	return 0, fmt.Errorf("--curve %q: want %s, %s or %s", curve, Measured, Flat, OneHour)
}

// measuredFactor writes a night of a generated state and looks at its times.
func measuredFactor(span time.Duration, revisions int) (float64, error) {
	const seed = 2026
	g, err := elections.Generate(elections.StateKind, seed)
	if err != nil {
		return 0, err
	}
	keys, err := elections.NewKeys(g.Election(), seed)
	if err != nil {
		return 0, err
	}
	s, err := script.New(script.Config{Truth: g, Keys: keys, Seed: seed, Revisions: revisions, Span: span})
	if err != nil {
		return 0, err
	}
	at := make([]time.Duration, 0, s.Len())
	for e := range s.All() {
		at = append(at, e.Offset)
	}
	return PeakFactor(at, span, peakBin), nil
}
