package cdf

import (
	"fmt"
	"io"

	"tallystream/schemas"
)

// UnitRow returns the row that counts for a unit, in the layout of its style,
// or nil if it has not reported. It may overwrite dst and use its array.
type UnitRow func(u schemas.UnitIndex, dst []schemas.Count) ([]schemas.Count, error)

// County writes one county by unit (Format "precinct-level"): part c+1 of as
// many parts as there are counties. Each count is a unit's own, none is a sum;
// a unit that has not reported a contest has no counts of it. Memory is 4 bytes
// for each cell of the county's units.
func (x *Exporter) County(w io.Writer, f *Facts, c schemas.CountyIndex, row UnitRow) error {
	if c < 0 || int(c) >= len(x.election.Counties) {
		return fmt.Errorf("writing CDF: county %d of %d", c, len(x.election.Counties))
	}
	if err := f.checkCounted(); err != nil {
		return err
	}
	r, err := x.begin(w, f, part{int(c) + 1, len(x.election.Counties), precinctFormat})
	if err != nil {
		return err
	}
	s := &countyReport{report: r, place: &x.election.Counties[c]}
	if err := s.collect(row); err != nil {
		return err
	}
	if err := s.collectRemainders(c); err != nil {
		return err
	}
	s.head()
	s.units(c)
	s.list("Election")
	s.electionHead()
	writeBallots(r, s.sections[0])
	s.list("Contest")
	for i := range s.place.Sections {
		if at := &s.place.Sections[i]; at.Contest != schemas.BallotsIndex {
			writeContest(r, at.Contest, progress{s.reporting[i], int64(at.Units)}, s.sections[i])
		}
	}
	s.endList()
	s.list("Candidate")
	for i := range s.place.Sections {
		if at := s.place.Sections[i].Contest; at != schemas.BallotsIndex {
			s.candidates(&x.election.Definition.Contests[at])
		}
	}
	s.endList()
	s.end()
	s.endList()
	s.partyList()
	return s.finish()
}

// countyReport is a county's report being written.
type countyReport struct {
	*report
	place    *schemas.CountyPlace
	sections [][]counted[schemas.Count] // by section of the county: units that state it
	// reporting counts them: a remainder is as many as it combines.
	reporting []int64
}

// collect reads the rows of all units: they come by unit and are written by
// contest.
func (s *countyReport) collect(row UnitRow) error {
	e := s.election
	s.sections = make([][]counted[schemas.Count], len(s.place.Sections))
	s.reporting = make([]int64, len(s.place.Sections))
	var scratch []schemas.Count
	for _, u := range s.place.Units {
		cells, err := row(u, scratch)
		if err != nil {
			return fmt.Errorf("writing CDF: reading unit %s: %w", e.Units[u].ID, err)
		}
		if cells == nil {
			continue
		}
		at := e.Units[u].Placement
		if len(cells) != at.Style.Cells {
			return fmt.Errorf("writing CDF: the row of unit %s has %d cells, want %d", e.Units[u].ID, len(cells), at.Style.Cells)
		}
		scratch = cells
		kept := append([]schemas.Count(nil), cells...)
		id := unitPrefix + string(e.Units[u].ID)
		for i := range at.Style.Sections {
			if stated := kept[at.Style.Sections[i].Offset:]; stated[0] != 0 {
				k := at.CountySections[i]
				s.sections[k] = append(s.sections[k], counted[schemas.Count]{id: id, cells: stated})
				s.reporting[k]++
			}
		}
	}
	return nil
}

func (s *countyReport) units(c schemas.CountyIndex) {
	s.list("GpUnit")
	s.scopeUnit([]int32{s.place.State}, unsaid)
	s.stateUnit(s.place.State, []schemas.CountyIndex{c}, unsaid)
	s.countyUnit(c, true, progress{s.reporting[0], int64(len(s.place.Units))})
	for _, u := range s.place.Units {
		s.unit(u)
	}
	_, remainders := s.election.RemaindersOf(c)
	for i := range remainders {
		s.remainderUnit(&remainders[i])
	}
	for i := range s.place.Sections {
		if at := s.place.Sections[i].Contest; at != schemas.BallotsIndex {
			s.districtUnit(at)
		}
	}
	s.endList()
}
