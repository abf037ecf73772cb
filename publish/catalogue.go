package publish

import (
	"cmp"
	"slices"

	"tallystream/schemas"
)

// catalogue is what follows from the definition alone: which documents there
// are, and which lines stand in each, in order. It is immutable.
type catalogue struct {
	election *schemas.Election
	counties []countyPlan  // by schemas.CountyIndex
	contests []contestPlan // by contest index + 1: ballots cast come first
	front    []lineRef     // the election document
	// documents sorted by name, as a manifest lists them.
	documents []documentPlan
	manyState bool // the election has several states, so contests have lines by state
}

// documentPlan names a document and what it is made of.
type documentPlan struct {
	id   schemas.DocumentID
	kind documentKind
	of   int32 // index of the county or contest plan
}

type documentKind uint8

const (
	countyDocument documentKind = iota
	contestDocument
	frontDocument
)

// countyPlan is one county's document.
type countyPlan struct {
	document int32   // index into catalogue.documents
	order    []int32 // sections in the order of their lines
	contests []int32 // the contest plan of each section
}

// contestPlan is one contest over all counties that vote on it.
type contestPlan struct {
	contest schemas.ContestIndex
	id      schemas.ContestID
	// section lays out a row of sums over counties: offset 0, all units.
	section schemas.Section
	places  []countySection // sorted by county identifier
	states  []stateShare    // where the election has several states
	// front: every county of its states votes on it, so it stands in the
	// election document.
	front bool
	// document is the index of the contest's own document; -1 for a contest of
	// one county, whose county's document serves it.
	document int32
	lines    []lineRef // of the contest's document
}

// countySection is where a county's row holds a contest.
type countySection struct {
	county  schemas.CountyIndex
	section int32
}

// stateShare is the part of a contest that lies in one state.
type stateShare struct {
	state int32
	units int64
}

// lineRef points to one line: of a county's sheet, or of a contest's sums.
type lineRef struct {
	county schemas.CountyIndex // -1: a sum
	at     int32               // section of the county, or line of the sum
	plan   int32               // the contest plan
}

// summed reports whether the contest's sums are needed: for its own document
// or for the election's.
func (c *contestPlan) summed() bool { return c.document >= 0 || c.front }

// sumLines is the number of lines over counties: one a state, and the total.
func (c *contestPlan) sumLines() int { return len(c.states) + 1 }

func newCatalogue(e *schemas.Election) *catalogue {
	c := &catalogue{
		election:  e,
		counties:  make([]countyPlan, len(e.Counties)),
		contests:  make([]contestPlan, len(e.Definition.Contests)+1),
		manyState: len(e.Definition.States) > 1,
	}
	c.planContests()
	for i := range e.Counties {
		c.planCounty(schemas.CountyIndex(i))
	}
	c.planSums()
	c.listDocuments()
	for i := range c.contests {
		c.planLines(int32(i))
	}
	c.sortLines(c.front)
	return c
}

func (c *catalogue) allCounties() []schemas.CountyIndex {
	all := make([]schemas.CountyIndex, len(c.counties))
	for i := range all {
		all[i] = schemas.CountyIndex(i)
	}
	return all
}

func (c *catalogue) planContests() {
	for i := range c.contests {
		p := &c.contests[i]
		p.contest, p.document = schemas.ContestIndex(i-1), -1
		p.id = c.election.ContestID(p.contest)
	}
}

func (c *catalogue) planCounty(county schemas.CountyIndex) {
	place := &c.election.Counties[county]
	plan := &c.counties[county]
	plan.order = make([]int32, len(place.Sections))
	plan.contests = make([]int32, len(place.Sections))
	for i := range place.Sections {
		s := &place.Sections[i]
		k := int32(s.Contest) + 1
		plan.order[i], plan.contests[i] = int32(i), k
		contest := &c.contests[k]
		contest.places = append(contest.places, countySection{county, int32(i)})
		if contest.section.Units == 0 {
			contest.section = *s
			contest.section.Offset, contest.section.Units = 0, 0
		}
		contest.section.Units += s.Units
	}
	slices.SortFunc(plan.order, func(a, b int32) int {
		return cmp.Compare(c.contests[plan.contests[a]].id, c.contests[plan.contests[b]].id)
	})
}

// planSums finds the states of each contest and whether it covers them.
func (c *catalogue) planSums() {
	inState := make([]int, len(c.election.Definition.States))
	for i := range c.election.Counties {
		if len(c.election.Counties[i].Units) > 0 {
			inState[c.election.Counties[i].State]++
		}
	}
	for i := range c.contests {
		p := &c.contests[i]
		slices.SortFunc(p.places, func(a, b countySection) int {
			return cmp.Compare(c.election.Counties[a.county].ID, c.election.Counties[b.county].ID)
		})
		counties := map[int32]int{}
		units := map[int32]int64{}
		for _, at := range p.places {
			place := &c.election.Counties[at.county]
			if len(place.Units) == 0 {
				continue
			}
			counties[place.State]++
			units[place.State] += int64(place.Sections[at.section].Units)
		}
		p.front = len(counties) > 0 || p.contest == schemas.BallotsIndex
		for state, n := range counties {
			p.front = p.front && n == inState[state]
			if c.manyState {
				p.states = append(p.states, stateShare{state, units[state]})
			}
		}
		slices.SortFunc(p.states, func(a, b stateShare) int { return cmp.Compare(a.state, b.state) })
	}
}

func (c *catalogue) listDocuments() {
	c.documents = append(c.documents, documentPlan{schemas.ElectionDocument, frontDocument, 0})
	for i := range c.election.Counties {
		c.documents = append(c.documents, documentPlan{schemas.CountyDocument(c.election.Counties[i].ID), countyDocument, int32(i)})
	}
	for i := range c.contests {
		if len(c.contests[i].places) > 1 {
			c.documents = append(c.documents, documentPlan{schemas.ContestDocument(c.contests[i].id), contestDocument, int32(i)})
		}
	}
	slices.SortFunc(c.documents, func(a, b documentPlan) int { return cmp.Compare(a.id, b.id) })
	for i := range c.documents {
		switch d := &c.documents[i]; d.kind {
		case countyDocument:
			c.counties[d.of].document = int32(i)
		case contestDocument:
			c.contests[d.of].document = int32(i)
		}
	}
}

// planLines lists the lines of contest plan k, and of its part of the
// election document.
func (c *catalogue) planLines(k int32) {
	p := &c.contests[k]
	if !p.summed() {
		return
	}
	sums := make([]lineRef, p.sumLines())
	for i := range sums {
		sums[i] = lineRef{county: -1, at: int32(i), plan: k}
	}
	if p.front {
		c.front = append(c.front, sums...)
	}
	if p.document < 0 {
		return
	}
	p.lines = slices.Grow(sums, len(p.places))
	for _, at := range p.places {
		p.lines = append(p.lines, lineRef{county: at.county, at: at.section, plan: k})
	}
	c.sortLines(p.lines)
}

func (c *catalogue) sortLines(lines []lineRef) {
	slices.SortFunc(lines, func(a, b lineRef) int {
		return cmp.Or(cmp.Compare(c.contests[a.plan].id, c.contests[b.plan].id), cmp.Compare(c.placeOf(a), c.placeOf(b)))
	})
}

// placeOf is the unit that a line names: a county, a state or the election.
func (c *catalogue) placeOf(r lineRef) schemas.CountyID {
	if r.county >= 0 {
		return c.election.Counties[r.county].ID
	}
	return c.sumPlace(&c.contests[r.plan], int(r.at))
}

// sumPlace is the unit that line i of a contest's sums names.
func (c *catalogue) sumPlace(p *contestPlan, i int) schemas.CountyID {
	if i < len(p.states) {
		return c.election.Definition.States[p.states[i].state].ID
	}
	return schemas.CountyID(c.election.Definition.Election)
}

// documentOf is the document that shows a contest live; "" where no unit
// votes on it.
func (c *catalogue) documentOf(contest schemas.ContestIndex) schemas.DocumentID {
	p := &c.contests[contest+1]
	switch {
	case p.document >= 0:
		return c.documents[p.document].id
	case len(p.places) == 1:
		return c.documents[c.counties[p.places[0].county].document].id
	}
	return ""
}

// DocumentOf is the document that shows a contest live: its own where several
// counties vote on it, else its county's; "" where nobody does.
func DocumentOf(e *schemas.Election, contest schemas.ContestIndex) schemas.DocumentID {
	one := schemas.CountyIndex(-1)
	for i := range e.Counties {
		if _, ok := e.Counties[i].Find(contest); !ok {
			continue
		}
		if one >= 0 {
			return schemas.ContestDocument(e.ContestID(contest))
		}
		one = schemas.CountyIndex(i)
	}
	if one < 0 {
		return ""
	}
	return schemas.CountyDocument(e.Counties[one].ID)
}
