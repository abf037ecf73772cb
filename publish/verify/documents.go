package verify

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tallystream/schemas"
)

// plan is which documents there are and which lines stand in them, from the
// definition alone (publish/README.md says the rules in words).
type plan struct {
	election *schemas.Election
	contests []contestPlan // by contest index + 1; BallotsCast first
	order    [][]int       // by county: its sections in the order of their lines
	names    []schemas.DocumentID
	of       map[schemas.DocumentID]documentPlan
}

// documentPlan is what a document is made of: a county, a contest, or where
// both are -1 the election.
type documentPlan struct{ county, contest int }

// contestPlan is one contest over the counties that vote on it.
type contestPlan struct {
	id     schemas.ContestID
	places []countySection
	states []int32 // that have a line of their own, where the election has several
	front  bool    // stands in the election's document
}

type countySection struct{ county, section int }

func newPlan(e *schemas.Election) *plan {
	p := &plan{election: e, contests: make([]contestPlan, len(e.Definition.Contests)+1), of: map[schemas.DocumentID]documentPlan{}}
	peopled := map[int32]int{} // counties with units, by state
	for c := range e.Counties {
		place := &e.Counties[c]
		if len(place.Units) > 0 {
			peopled[place.State]++
		}
		order := make([]int, len(place.Sections))
		for i := range place.Sections {
			order[i] = i
			k := &p.contests[place.Sections[i].Contest+1]
			k.places = append(k.places, countySection{c, i})
		}
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Compare(e.ContestID(place.Sections[a].Contest), e.ContestID(place.Sections[b].Contest))
		})
		p.order = append(p.order, order)
		p.name(schemas.CountyDocument(place.ID), documentPlan{c, -1})
	}
	p.name(schemas.ElectionDocument, documentPlan{-1, -1})
	for i := range p.contests {
		k := &p.contests[i]
		k.id = e.ContestID(schemas.ContestIndex(i - 1))
		if len(k.places) > 1 {
			p.name(schemas.ContestDocument(k.id), documentPlan{-1, i})
		}
		p.spread(k, peopled)
		k.front = k.front || i == 0 && len(k.places) > 0
	}
	slices.Sort(p.names)
	return p
}

func (p *plan) name(id schemas.DocumentID, d documentPlan) {
	p.names = append(p.names, id)
	p.of[id] = d
}

// spread finds the states of a contest, and whether all of each votes on it.
func (p *plan) spread(k *contestPlan, peopled map[int32]int) {
	voting := map[int32]int{}
	for _, at := range k.places {
		if place := &p.election.Counties[at.county]; len(place.Units) > 0 {
			voting[place.State]++
		}
	}
	k.front = len(voting) > 0
	for state, n := range voting {
		k.front = k.front && n == peopled[state]
		if len(p.election.Definition.States) > 1 {
			k.states = append(k.states, state)
		}
	}
}

// sheet is a county's document, with each section's line in it.
type sheet struct {
	body  []byte
	lines [][]byte
}

// line is a document line, to be sorted.
type line struct {
	contest schemas.ContestID
	place   schemas.CountyID
	bytes   []byte
}

func joined(lines []line) []byte {
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.contest, b.contest), cmp.Compare(a.place, b.place))
	})
	var out []byte
	for i := range lines {
		out = append(out, lines[i].bytes...)
	}
	return out
}

// sheet makes a county's document of its row, and of the movements by section.
func (p *plan) sheet(county int, row []int64, moved []uint32) *sheet {
	place := &p.election.Counties[county]
	s := &sheet{lines: make([][]byte, len(place.Sections))}
	ends := make([]int, len(place.Sections))
	for _, i := range p.order[county] {
		section := &place.Sections[i]
		s.body = p.election.AppendLine(s.body, section, place.ID, int64(section.Units), int64(moved[i]), row)
		ends[i] = len(s.body)
	}
	from := 0
	for _, i := range p.order[county] {
		s.lines[i] = s.body[from:ends[i]]
		from = ends[i]
	}
	return s
}

// sums are the lines of a contest over counties: by state, and in all.
func (p *plan) sums(contest int, rows [][]int64, moved [][]uint32) []line {
	k, e := &p.contests[contest], p.election
	section := e.Counties[k.places[0].county].Sections[k.places[0].section]
	section.Offset = 0
	size := section.Size(len(e.Definition.CountTypes))
	sum := func(name schemas.CountyID, of func(*schemas.CountyPlace) bool) line {
		units, movements, row := int64(0), int64(0), make([]int64, size)
		for _, at := range k.places {
			place := &e.Counties[at.county]
			if !of(place) {
				continue
			}
			s := &place.Sections[at.section]
			units += int64(s.Units)
			movements += int64(moved[at.county][at.section])
			for i, n := range rows[at.county][s.Offset:][:size] {
				row[i] += n
			}
		}
		return line{k.id, name, e.AppendLine(nil, &section, name, units, movements, row)}
	}
	all := func(*schemas.CountyPlace) bool { return true }
	out := []line{sum(schemas.CountyID(e.Definition.Election), all)}
	for _, state := range k.states {
		in := func(c *schemas.CountyPlace) bool { return c.State == state && len(c.Units) > 0 }
		out = append(out, sum(e.Definition.States[state].ID, in))
	}
	return out
}

// document makes a document's bytes of the counties' sheets and rows.
func (p *plan) document(id schemas.DocumentID, sheets []*sheet, rows [][]int64, moved [][]uint32) []byte {
	d := p.of[id]
	if d.county >= 0 {
		return sheets[d.county].body
	}
	if d.contest < 0 {
		var lines []line
		for i := range p.contests {
			if p.contests[i].front {
				lines = append(lines, p.sums(i, rows, moved)...)
			}
		}
		return joined(lines)
	}
	k := &p.contests[d.contest]
	lines := p.sums(d.contest, rows, moved)
	for _, at := range k.places {
		lines = append(lines, line{k.id, p.election.Counties[at.county].ID, sheets[at.county].lines[at.section]})
	}
	return joined(lines)
}

// difference says in which line published bytes differ first from those that
// the log gives.
func difference(published, want []byte) string {
	return firstDifference(published, want, lineDifference)
}

// firstDifference finds the first line in which two files differ, and tells it.
func firstDifference(published, want []byte, tell func(published, want []byte) string) string {
	a, b := bytes.SplitAfter(published, []byte{'\n'}), bytes.SplitAfter(want, []byte{'\n'})
	for i := range max(len(a), len(b)) {
		var x, y []byte
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if !bytes.Equal(x, y) {
			return fmt.Sprintf("line %d %s", i+1, tell(x, y))
		}
	}
	return "no line differs"
}

func lineDifference(published, want []byte) string {
	a, errA := schemas.ParseLine(bytes.TrimSuffix(published, []byte{'\n'}))
	b, errB := schemas.ParseLine(bytes.TrimSuffix(want, []byte{'\n'}))
	if errA != nil || errB != nil || a.Contest != b.Contest || a.Unit != b.Unit {
		return fmt.Sprintf("is %s, the log gives %s", clip(published), clip(want))
	}
	var what []string
	number := func(name string, x, y any) {
		if s, t := fmt.Sprint(x), fmt.Sprint(y); s != t {
			what = append(what, fmt.Sprintf("%s %s, the log gives %s", name, s, t))
		}
	}
	number("reporting", a.Reporting, b.Reporting)
	number("units", a.Units, b.Units)
	number("corrections", a.Corrections, b.Corrections)
	var selections []schemas.SelectionID
	for s := range b.Votes {
		selections = append(selections, s)
	}
	slices.Sort(selections)
	for _, s := range selections {
		number("votes of "+string(s), a.Votes[s], b.Votes[s])
	}
	number("undervotes", a.Undervotes, b.Undervotes)
	number("overvotes", a.Overvotes, b.Overvotes)
	if len(what) == 0 {
		return fmt.Sprintf("is spelled %s, the log gives %s", clip(published), clip(want))
	}
	return fmt.Sprintf("(contest %s, unit %s) says %s", b.Contest, b.Unit, strings.Join(what, "; "))
}

func clip(b []byte) string {
	const most = 160
	if len(b) == 0 {
		return "nothing"
	}
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
