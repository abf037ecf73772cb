package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Kinds take turns, round after round, so that other work on the machine meets
// all of them; what is printed is the median of the rounds.

// all are the results of a kind, one a round.
func (r *report) all(kind string, connections int, deflate bool) []*result {
	var out []*result
	for i := range r.Results {
		if x := &r.Results[i]; x.Kind == kind && x.Connections == connections && x.Deflate == deflate {
			out = append(out, x)
		}
	}
	return out
}

// find is the middle of a kind's results; nil if there is none.
func (r *report) find(kind string, connections int, deflate bool) *result {
	rounds := r.all(kind, connections, deflate)
	if len(rounds) == 0 {
		return nil
	}
	return middle(rounds)
}

// middle has the median of each number that a table shows, and the sum of what
// was missed.
func middle(rounds []*result) *result {
	out := *rounds[0]
	of := func(number func(*result) *float64) {
		var all []float64
		for _, r := range rounds {
			all = append(all, *number(r))
		}
		*number(&out) = median(all)
	}
	of(func(r *result) *float64 { return &r.ConnectsPerSecond })
	of(func(r *result) *float64 { return &r.InUseKiB })
	of(func(r *result) *float64 { return &r.ResidentKiB })
	of(func(r *result) *float64 { return &r.ReleasedKiB })
	for _, s := range []func(*result) *spell{func(r *result) *spell { return &r.Paced }, func(r *result) *spell { return &r.Saturated }} {
		of(func(r *result) *float64 { return &s(r).DeliveriesPerSecond })
		of(func(r *result) *float64 { return &s(r).ServerSeconds })
		of(func(r *result) *float64 { return &s(r).ClientSeconds })
		of(func(r *result) *float64 { return &s(r).Latency.P50 })
		of(func(r *result) *float64 { return &s(r).Latency.P99 })
		s(&out).Missed = 0
		for _, r := range rounds {
			s(&out).Missed += s(r).Missed
		}
	}
	return &out
}

// median of numbers, of which there is at least one.
func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// writeRounds prints CPU a million deliveries round by round, so that one sees
// how far to believe the medians.
func (r *report) writeRounds(w io.Writer, connections int) {
	for _, k := range kinds() {
		rounds := r.all(k.name, connections, false)
		if len(rounds) < 2 {
			continue
		}
		var seconds []string
		for _, x := range rounds {
			seconds = append(seconds, fmt.Sprintf("%.2f", x.Saturated.ServerSeconds))
		}
		fmt.Fprintf(w, "  %s by round: %s CPU s a million\n", k.name, strings.Join(seconds, ", "))
	}
}
