package cdf

import (
	"fmt"
	"io"

	"tallystream/schemas"
)

// Summary writes the whole election by county (Format "summary-contest"), with
// the sums of each state and of the whole where a contest has several: the
// places of its document. rows are the tallies by county, each in its county's
// layout. A place that has not reported a contest has no counts of it. Memory
// is a few hundred kilobytes, whatever the election.
func (x *Exporter) Summary(w io.Writer, f *Facts, rows [][]int64) error {
	if err := x.checkRows(rows); err != nil {
		return err
	}
	if err := f.checkCounted(); err != nil {
		return err
	}
	r, err := x.begin(w, f, part{1, 1, summaryFormat})
	if err != nil {
		return err
	}
	s := &summary{report: r, rows: rows}
	s.head()
	s.units()
	s.list("Election")
	s.electionHead()
	ballots, _ := s.places(s.ballotPlaces(), x.ballotsSize())
	writeBallots(r, ballots)
	s.list("Contest")
	for i := range x.contests {
		places, reported := s.places(x.contests[i].places, x.sectionSize(schemas.ContestIndex(i)))
		writeContest(r, schemas.ContestIndex(i), progress{reported, x.contests[i].units}, places)
	}
	s.endList()
	s.list("Candidate")
	for i := range x.election.Definition.Contests {
		s.candidates(&x.election.Definition.Contests[i])
	}
	s.endList()
	s.end()
	s.endList()
	s.partyList()
	return s.finish()
}

func (x *Exporter) checkRows(rows [][]int64) error {
	if len(rows) != len(x.election.Counties) {
		return fmt.Errorf("writing CDF: %d rows of tallies, want one for each of %d counties", len(rows), len(x.election.Counties))
	}
	for c, row := range rows {
		if want := x.election.Counties[c].Cells; len(row) != want {
			return fmt.Errorf("writing CDF: the row of county %s has %d cells, want %d", x.election.Counties[c].ID, len(row), want)
		}
	}
	return nil
}

func (x *Exporter) ballotsSize() int {
	return x.election.Counties[0].Sections[0].Size(x.election.Types())
}

func (x *Exporter) sectionSize(i schemas.ContestIndex) int {
	if len(x.contests[i].places) == 0 {
		return 0
	}
	p := x.contests[i].places[0]
	return x.election.Counties[p.county].Sections[p.section].Size(x.election.Types())
}

// summary is a summary report being written.
type summary struct {
	*report
	rows [][]int64

	// Scratch of places.
	found []counted[int64]
	sums  []int64
}

// ballotPlaces are all counties, by state.
func (s *summary) ballotPlaces() []countySection {
	out := make([]countySection, 0, len(s.rows))
	for i := range s.election.Definition.States {
		for _, c := range s.countiesOf(int32(i)) {
			out = append(out, countySection{county: c})
		}
	}
	return out
}

func (x *Exporter) countiesOf(state int32) []schemas.CountyIndex {
	var out []schemas.CountyIndex
	for c := range x.election.Counties {
		if x.election.Counties[c].State == state {
			out = append(out, schemas.CountyIndex(c))
		}
	}
	return out
}

// units writes all places but reporting units.
func (s *summary) units() {
	e := s.election
	byCounty := make([]progress, len(e.Counties))
	byState := make([]progress, len(e.Definition.States))
	counties := make([][]schemas.CountyIndex, len(byState))
	states := make([]int32, len(byState))
	var whole progress
	for c := range e.Counties {
		ballots := &e.Counties[c].Sections[0]
		p := progress{s.rows[c][ballots.Offset], int64(ballots.Units)}
		state := &byState[e.Counties[c].State]
		byCounty[c] = p
		*state = progress{state.reported + p.reported, state.total + p.total}
		whole = progress{whole.reported + p.reported, whole.total + p.total}
		counties[e.Counties[c].State] = append(counties[e.Counties[c].State], schemas.CountyIndex(c))
	}
	s.list("GpUnit")
	for i := range states {
		states[i] = int32(i)
	}
	s.scopeUnit(states, whole)
	for i := range states {
		s.stateUnit(int32(i), counties[i], byState[i])
	}
	for c := range e.Counties {
		s.countyUnit(schemas.CountyIndex(c), false, byCounty[c])
	}
	for i := range e.Definition.Contests {
		s.districtUnit(schemas.ContestIndex(i))
	}
	s.endList()
}

// places lists where a section is reported: counties, states of several such
// counties, and the whole if it has several states; and how many units reported
// it in all. What it returns is valid until the next call.
func (s *summary) places(in []countySection, size int) ([]counted[int64], int64) {
	s.found, s.sums = s.found[:0], s.sums[:0]
	// Sums first, in their final place: a growing slice would leave the old one.
	if need := (len(s.election.Definition.States) + 1) * size; cap(s.sums) < need {
		s.sums = make([]int64, 0, need)
	}
	whole := s.sum(size)
	states, reported := 0, int64(0)
	for from := 0; from < len(in); {
		state := s.election.Counties[in[from].county].State
		total, to, reporting := s.sum(size), from, 0
		for ; to < len(in) && s.election.Counties[in[to].county].State == state; to++ {
			county := &s.election.Counties[in[to].county]
			at := county.Sections[in[to].section].Offset
			cells := s.rows[in[to].county][at:][:size]
			if cells[0] == 0 {
				continue
			}
			s.found = append(s.found, counted[int64]{id: placePrefix + string(county.ID), cells: cells})
			add(total, cells)
			add(whole, cells)
			reporting++
		}
		if to-from > 1 && reporting > 0 {
			s.found = append(s.found, counted[int64]{id: placePrefix + string(s.election.Definition.States[state].ID), cells: total})
		}
		states++
		from = to
	}
	if reported = 0; size > 0 {
		reported = whole[0]
	}
	if states > 1 && reported > 0 {
		s.found = append(s.found, counted[int64]{id: s.scope, cells: whole})
	}
	return s.found, reported
}

// sum takes a row of zeros from the scratch.
func (s *summary) sum(size int) []int64 {
	n := len(s.sums)
	s.sums = s.sums[:n+size]
	row := s.sums[n:]
	clear(row)
	return row
}

func add(dst, src []int64) {
	for i, n := range src {
		dst[i] += n
	}
}
