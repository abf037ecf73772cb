package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// report is what the benchmark prints.
type report struct {
	Machine string   `json:"machine"`
	Bytes   int      `json:"delta_bytes"`
	Results []result `json:"results"`
	Skipped []string `json:"skipped,omitempty"`
}

// show writes any command's report, for people or as JSON.
func show(w io.Writer, report fmt.Stringer, asJSON bool) (err error) {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		_, err = io.WriteString(w, report.String())
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// String is a table for each number of connections.
func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; deltas of %d bytes over loopback\n", r.Machine, r.Bytes)
	done := map[int]bool{}
	for i := range r.Results {
		if n := r.Results[i].Connections; !done[n] {
			done[n] = true
			r.writeSize(&b, n)
		}
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "skipped: %s\n", s)
	}
	return b.String()
}

func (r *report) writeSize(w io.Writer, connections int) {
	fmt.Fprintf(w, "\n%d connections\n", connections)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tKiB a connection\t\t\tconnects\tCPU s a million\t\t\t1 delta/s, ms\t\tsaturated, ms\t\tdeliveries\tmissed\t")
	fmt.Fprintln(t, "\tin use\tresident\treleased\t/s\tplain\tx write(2)\tdeflated\tp50\tp99\tp50\tp99\t/s\t\t")
	limit := r.find(kinds()[0].name, connections, false)
	for _, k := range kinds() {
		plain, small := r.find(k.name, connections, false), r.find(k.name, connections, true)
		if plain == nil && small == nil {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\n", k.name, strings.Join(cells(plain, small, limit), "\t")+"\t")
	}
	_ = t.Flush() // into memory
	r.writeRounds(w, connections)
}

// cells are a row. What was not measured is a dash.
func cells(plain, small, limit *result) []string {
	out := []string{"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"}
	number := func(i, digits int, v float64) { out[i] = fmt.Sprintf("%.*f", digits, v) }
	missed := uint64(0)
	if plain != nil {
		number(0, 2, plain.InUseKiB)
		number(1, 2, plain.ResidentKiB)
		number(2, 2, plain.ReleasedKiB)
		number(3, 0, plain.ConnectsPerSecond)
		number(4, 2, plain.Saturated.ServerSeconds)
		if limit != nil && limit.Saturated.ServerSeconds > 0 {
			number(5, 2, plain.Saturated.ServerSeconds/limit.Saturated.ServerSeconds)
		}
		number(7, 0, plain.Paced.Latency.P50)
		number(8, 0, plain.Paced.Latency.P99)
		number(9, 0, plain.Saturated.Latency.P50)
		number(10, 0, plain.Saturated.Latency.P99)
		number(11, 0, plain.Saturated.DeliveriesPerSecond)
		missed += plain.Paced.Missed + plain.Saturated.Missed
	}
	if small != nil {
		number(6, 2, small.Saturated.ServerSeconds)
		missed += small.Saturated.Missed
	}
	out[12] = fmt.Sprint(missed)
	return out
}
