// Package capacity says on paper what an election night needs on AWS, and what
// it costs: shards, write units, requests, nodes, dollars.
//
// Invariant: everything is a pure function of a Night and Prices, and each line
// says the formula that made it, with its numbers, and where its constants are from.
package capacity

import (
	"errors"
	"fmt"
	"math"
)

// Night is what has to be carried.
type Night struct {
	Units      float64 `json:"units"`
	Contests   float64 `json:"contests"` // on a unit's ballot
	Counties   float64 `json:"counties"`
	Partitions float64 `json:"partitions"`
	// Districts are contests that several counties vote on, each with a document.
	Districts float64 `json:"districts"`
	Revisions float64 `json:"revisions"` // submissions of a unit
	Hours     float64 `json:"hours"`     // in which they come
	// PeakFactor is the busiest five minutes against the average; Peak in
	// submissions a second overrides it where it is above 0.
	PeakFactor float64 `json:"peak_factor"`
	Peak       float64 `json:"peak"`
	// LargestCounty is its share of all units.
	LargestCounty float64 `json:"largest_county"`
	Viewers       float64 `json:"viewers"` // live at once, at the peak
	PageLoads     float64 `json:"page_loads"`
}

// Validate returns what of n makes no sense.
func (n *Night) Validate() error {
	for _, x := range []struct {
		name        string
		value, from float64
	}{
		{"units", n.Units, 1}, {"contests", n.Contests, 1}, {"counties", n.Counties, 1}, {"partitions", n.Partitions, 1}, {"districts", n.Districts, 0},
		{"revisions", n.Revisions, 1}, {"hours", n.Hours, 0.1}, {"peak factor", n.PeakFactor, 1}, {"peak", n.Peak, 0}, {"largest county", n.LargestCounty, 0},
		{"viewers", n.Viewers, 0}, {"page loads", n.PageLoads, 0},
	} {
		if !(x.value >= x.from) || x.value > 1e12 {
			return fmt.Errorf("%s %g: want %g or more", x.name, x.value, x.from)
		}
	}
	if n.LargestCounty > 1 {
		return errors.New("largest county: want a share of at most 1")
	}
	return nil
}

// Line is one figure.
type Line struct {
	Part    string  `json:"part"`
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Formula string  `json:"formula"`
	Source  string  `json:"source"`
}

// Plan is the answer.
type Plan struct {
	Night    Night    `json:"night"`
	Lines    []Line   `json:"lines"`
	Dollars  float64  `json:"dollars"`
	Warnings []string `json:"warnings,omitempty"`
}

// Get returns a figure by its name; false where there is none.
func (p *Plan) Get(name string) (float64, bool) {
	for i := range p.Lines {
		if p.Lines[i].Name == name {
			return p.Lines[i].Value, true
		}
	}
	return 0, false
}

// planner makes a plan, line by line.
type planner struct {
	Plan
	n      Night
	prices Prices
	part   string
}

// Make plans a night.
func Make(n Night, prices Prices) (*Plan, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	p := &planner{Plan: Plan{Night: n}, n: n, prices: prices}
	a := p.arrivals()
	p.stream(a)
	p.ledger(a)
	s := p.bucket(a)
	p.live(a, s)
	p.services(a)
	p.total()
	return &p.Plan, nil
}

// say adds a line and returns its value.
func (p *planner) say(name string, value float64, unit, source, formula string, args ...any) float64 {
	p.Lines = append(p.Lines, Line{Part: p.part, Name: name, Value: value, Unit: unit, Source: source, Formula: fmt.Sprintf(formula, args...)})
	return value
}

// dollars adds what an amount costs at a named price.
func (p *planner) dollars(name string, amount float64, price string) {
	x := p.prices[price]
	cost := amount * x.Dollars
	p.Dollars += cost
	p.say(name, cost, "$", x.Source, "%s x %g $ %s", short(amount), x.Dollars, x.Per)
}

func (p *planner) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

func (p *planner) total() {
	p.part = "Sum"
	p.say("dollars of the night", p.Dollars, "$", "", "sum of all lines in $")
}

// kilobytes is how many started kilobytes of 1,024 bytes there are, at least one.
func kilobytes(bytes float64) float64 { return math.Max(1, math.Ceil(bytes/1024)) }
