package cdf

import (
	"cmp"
	"slices"
	"strings"

	"tallystream/schemas"
)

// Exporter writes reports of one election. It is immutable and safe for
// concurrent use. Beside the election it holds about 20 bytes for each contest
// of each county.
type Exporter struct {
	election *schemas.Election
	contests []contestPlan // by contest index
	parties  map[string]int
	names    []string // of parties, by number
	scope    string   // @id of the unit that is the whole election
	several  bool     // states
	// types continue a count behind its place, up to its number.
	voteTypes   [][]byte
	ballotTypes [][]byte
}

// contestPlan is one contest over all counties that vote on it.
type contestPlan struct {
	district string          // @id of its ElectionDistrict
	places   []countySection // sorted by state, then county
	units    int64
}

// countySection is where a county's row holds a contest.
type countySection struct {
	county  schemas.CountyIndex
	section int32
	// precincts that vote on it; administrative units have no territory.
	precincts int32
}

// NewExporter prepares the writing of reports of e.
func NewExporter(e *schemas.Election) *Exporter {
	x := &Exporter{election: e, contests: make([]contestPlan, len(e.Definition.Contests)), parties: map[string]int{}}
	d := e.Definition
	x.several = len(d.States) > 1
	x.scope = placePrefix + string(d.Election)
	if !x.several {
		x.scope = placePrefix + string(d.States[0].ID)
	}
	for _, t := range d.CountTypes {
		w := writer{}
		item, other := countItem(t)
		w.string("Type", item)
		if other != "" {
			w.string("OtherType", other)
		}
		x.voteTypes = append(x.voteTypes, append(slices.Clone(w.b), `,"Count":`...))
		x.ballotTypes = append(x.ballotTypes, append(slices.Clone(w.b), `,"BallotsCast":`...))
	}
	for i := range d.Contests {
		for _, name := range partiesOf(&d.Contests[i]) {
			if _, ok := x.parties[name]; !ok {
				x.names = append(x.names, name)
				x.parties[name] = len(x.names)
			}
		}
	}
	x.placeContests()
	return x
}

// partiesOf lists the names that are written as parties: those of candidates,
// and the selections of a party contest themselves.
func partiesOf(c *schemas.Contest) []string {
	var out []string
	for i := range c.Selections {
		s := &c.Selections[i]
		switch {
		case c.Kind == schemas.PartyContest:
			out = append(out, partyOf(s))
		case c.Kind == schemas.CandidateContest && s.Party != "":
			out = append(out, s.Party)
		}
	}
	return out
}

// partyOf is the party that a selection of a party contest is for.
func partyOf(s *schemas.Selection) string {
	if s.Party != "" {
		return s.Party
	}
	return s.Name
}

// placeContests finds out where each contest is voted on.
func (x *Exporter) placeContests() {
	e := x.election
	precincts := make([]int32, len(e.Counties)) // of each county
	for c := range e.Counties {
		county := &e.Counties[c]
		voting := make([]int32, len(county.Sections))
		of := map[*schemas.Placement]int32{}
		for _, u := range county.Units {
			if e.Definition.Units[u].Kind == schemas.PrecinctUnit {
				of[e.Units[u].Placement]++
				precincts[c]++
			}
		}
		for p, n := range of {
			for _, s := range p.CountySections {
				voting[s] += n
			}
		}
		for i := range county.Sections {
			if s := &county.Sections[i]; s.Contest != schemas.BallotsIndex {
				p := &x.contests[s.Contest]
				p.places = append(p.places, countySection{schemas.CountyIndex(c), int32(i), voting[i]})
				p.units += int64(s.Units)
			}
		}
	}
	byState := make([]int, len(e.Definition.States)) // counties with precincts
	all := 0
	for c, n := range precincts {
		if n > 0 {
			byState[e.Counties[c].State]++
			all++
		}
	}
	for i := range x.contests {
		p := &x.contests[i]
		slices.SortStableFunc(p.places, func(a, b countySection) int {
			return cmp.Compare(e.Counties[a.county].State, e.Counties[b.county].State)
		})
		p.district = x.district(schemas.ContestIndex(i), precincts, byState, all)
	}
}

// district is the place that is exactly where a contest is voted on, or a
// district of the contest's own.
func (x *Exporter) district(i schemas.ContestIndex, precincts []int32, byState []int, all int) string {
	e, places := x.election, x.contests[i].places
	own := districtPrefix + string(e.Definition.Contests[i].ID)
	if len(places) == 0 {
		return x.scope // on no ballot
	}
	whole, state := 0, e.Counties[places[0].county].State
	for _, p := range places {
		switch {
		case p.precincts != precincts[p.county]:
			return own
		case p.precincts > 0:
			whole++
		}
		if e.Counties[p.county].State != state {
			state = -1
		}
	}
	switch {
	case len(places) == 1:
		return placePrefix + string(e.Counties[places[0].county].ID)
	case state >= 0 && whole == byState[state]:
		return placePrefix + string(e.Definition.States[state].ID)
	case whole == all:
		return x.scope
	}
	return own
}

// hasOwnDistrict reports whether the contest's district is a unit of its own.
func (x *Exporter) hasOwnDistrict(i schemas.ContestIndex) bool {
	return strings.HasPrefix(x.contests[i].district, districtPrefix)
}

// StatusOf says whether every unit has reported: UnofficialPartial or
// UnofficialComplete. rows are the tallies by county.
func (x *Exporter) StatusOf(rows [][]int64) Status {
	for c := range x.election.Counties {
		s := &x.election.Counties[c].Sections[0]
		if rows[c][s.Offset] < int64(s.Units) {
			return UnofficialPartial
		}
	}
	return UnofficialComplete
}
