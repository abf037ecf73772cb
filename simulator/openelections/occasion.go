package openelections

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"tallystream/schemas"
)

// Options say what the input does not. Empty ones are derived from the
// sources' names and FIPS codes, and what was assumed is a Warning.
type Options struct {
	Election schemas.ElectionID
	Name     string
	Date     string // YYYY-MM-DD
	Origin   string
	// State is the postal code of the state, where there is no fips column.
	State string
	// Partitions of the stream; 0 is 8, or fewer in fewer counties.
	Partitions int
}

// occasion is which election it is.
type occasion struct {
	date   string
	state  state // of counties without a FIPS code
	states []state
}

var (
	// 20241105__sc__general__abbeville__precinct.csv
	fileName = regexp.MustCompile(`(?:^|[/\\])(\d{4})(\d{2})(\d{2})__([a-z]{2})__`)
	// .../sc-2024-general/...
	directoryName = regexp.MustCompile(`(?:^|[/\\])([a-z]{2})-((?:19|20)\d{2})-[^/\\]*[/\\]`)
)

// occasionOf derives date and state from options and names.
func occasionOf(t *table, o Options) (occasion, error) {
	x := occasion{date: o.Date}
	postal := o.State
	for _, f := range t.files {
		if m := fileName.FindStringSubmatch(f.name); m != nil {
			x.setDefault(m[1]+"-"+m[2]+"-"+m[3], &postal, m[4])
		} else if m := directoryName.FindStringSubmatch(f.name); m != nil {
			x.setDefault(electionDay(m[2]), &postal, m[1])
		}
	}
	if x.date == "" {
		x.date = "2000-01-01"
		t.add(Assumed, "", 0, "no source is named as OpenElections names files, so that the date is not known; %s stands for it", x.date)
	}
	if _, err := time.Parse(time.DateOnly, x.date); err != nil {
		return x, fmt.Errorf("date %q: want YYYY-MM-DD", x.date)
	}
	found, known := statePostal(postal)
	if postal != "" && !known && o.State != "" {
		return x, fmt.Errorf("state %q: want a postal code such as sc", o.State)
	}
	x.state = found
	if !known {
		x.state = x.firstState(t)
	}
	return x, nil
}

func (x *occasion) setDefault(date string, postal *string, state string) {
	if x.date == "" {
		x.date = date
	}
	if _, known := statePostal(state); known && *postal == "" {
		*postal = state
	}
}

// firstState is the state of the first county that has a FIPS code.
func (x *occasion) firstState(t *table) state {
	for _, c := range t.counties {
		if c.state != "" {
			return stateOf(c.state)
		}
	}
	t.add(Assumed, "", 0, "neither a fips column nor a source's name says which state it is")
	return stateOf("")
}

// settle gives every county its state and lists the states.
func (x *occasion) settle(t *table) {
	seen := map[state]bool{}
	for i := range t.counties {
		c := &t.counties[i]
		if c.state == "" {
			c.state = x.state.fips
		}
		if s := stateOf(c.state); !seen[s] {
			seen[s] = true
			x.states = append(x.states, s)
		}
	}
}

// electionDay is the day of a general election: the Tuesday after the first
// Monday of November (2 U.S.C. 7).
func electionDay(year string) string {
	y, err := strconv.Atoi(year)
	if err != nil { // the pattern has digits alone
		return ""
	}
	d := time.Date(y, time.November, 2, 0, 0, 0, 0, time.UTC)
	for d.Weekday() != time.Tuesday {
		d = d.AddDate(0, 0, 1)
	}
	return d.Format(time.DateOnly)
}
