package faultsim

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// table shows what befell: writes by fate, then the other faults.
func (c *Campaign) table() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "write\t")
	for f := range fates {
		fmt.Fprintf(t, "%s\t", f)
	}
	fmt.Fprintln(t)
	for k := range writes {
		fmt.Fprintf(t, "%s\t", k)
		for f := range fates {
			fmt.Fprintf(t, "%d\t", c.Count.Writes[k][f])
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintln(t)
	fmt.Fprint(t, "fault\tbefell\t\n")
	for k := range faultKinds {
		fmt.Fprintf(t, "%s\t%d\t\n", k, c.Count.Faults[k])
	}
	_ = t.Flush() // to memory
	return b.String()
}

// report is a campaign in JSON.
type report struct {
	Seeds      uint64                       `json:"seeds"`
	First      uint64                       `json:"firstSeed"`
	Steps      uint64                       `json:"steps"`
	Seconds    float64                      `json:"seconds"`
	PerSecond  float64                      `json:"seedsPerSecond"`
	Violations uint64                       `json:"violations"`
	Failed     []failure                    `json:"failed"`
	Uncovered  []string                     `json:"uncovered"`
	Writes     map[string]map[string]uint64 `json:"writes"`
	Faults     map[string]uint64            `json:"faults"`
}

type failure struct {
	Seed      uint64   `json:"seed"`
	Violation string   `json:"violation"`
	Trace     []string `json:"trace"`
}

func (c *Campaign) report(first uint64) *report {
	r := &report{
		Seeds: c.Seeds, First: first, Steps: c.Steps, Seconds: c.Elapsed.Seconds(), PerSecond: c.perSecond(), Violations: c.Bad,
		Failed: []failure{}, Uncovered: append([]string{}, c.Count.uncovered()...),
		Writes: map[string]map[string]uint64{}, Faults: map[string]uint64{},
	}
	for _, x := range c.Failed {
		r.Failed = append(r.Failed, failure{x.Seed, x.Violation.Error(), x.Trace})
	}
	for k := range writes {
		r.Writes[k.String()] = map[string]uint64{}
		for f := range fates {
			r.Writes[k.String()][f.String()] = c.Count.Writes[k][f]
		}
	}
	for k := range faultKinds {
		r.Faults[k.String()] = c.Count.Faults[k]
	}
	return r
}

func (c *Campaign) perSecond() float64 { return float64(c.Seeds) / max(c.Elapsed.Seconds(), 1e-9) }
