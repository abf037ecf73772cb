package cdf

import (
	"fmt"
	"math"

	"tallystream/schemas"
)

// collectRemainders adds the county's remainders behind its units, as one place
// each: the standard's combined precinct.
func (s *countyReport) collectRemainders(c schemas.CountyIndex) error {
	first, of := s.election.RemaindersOf(c)
	for i := range of {
		r := &of[i]
		var row []int64
		if s.facts.Remainder != nil {
			row = s.facts.Remainder(first + i)
		}
		if row == nil {
			continue
		}
		if len(row) != s.place.Cells {
			return fmt.Errorf("writing CDF: the row of %s has %d cells, want %d", r.ID, len(row), s.place.Cells)
		}
		for k := range r.Sections {
			if !r.Sections[k].Shown {
				continue
			}
			at := &s.place.Sections[k]
			cells := make([]schemas.Count, at.Size(s.election.Types()))
			for j := range cells {
				n := row[int(at.Offset)+j]
				if n < 0 || n > math.MaxUint32 {
					return fmt.Errorf("writing CDF: a number of %s is too large", r.ID)
				}
				cells[j] = schemas.Count(n)
			}
			s.reporting[k] += int64(r.Sections[k].Voting)
			s.sections[k] = append(s.sections[k], counted[schemas.Count]{
				id: unitPrefix + string(r.ID), cells: cells, votesOnly: at.Residuals && !r.Sections[k].Residuals,
			})
		}
	}
	return nil
}

// remainderUnit writes the place of a remainder: which units it combines.
func (r *report) remainderUnit(of *schemas.Remainder) {
	r.next("ReportingUnit")
	r.id("@id", unitPrefix, string(of.ID))
	r.string("Type", "combined-precinct")
	r.internationalized("Name", string(of.ID))
	r.list("ComposingGpUnitIds")
	for _, u := range of.Units {
		r.comma()
		r.ref(unitPrefix, string(r.election.Units[u].ID))
	}
	r.endList()
	r.end()
}
