package publish

import (
	"cmp"
	"slices"

	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// unitLine is one unit's statement of one contest.
type unitLine struct {
	contest schemas.ContestID
	place   schemas.CountyID // the unit, or a remainder
	units   int64
	section *schemas.Section
	moved   int64
	row     []int64
}

// appendUnitLines appends a county's document lines by unit, for each contest
// that a unit states or stated, sorted like every document. moved is how many
// movements lowered each section of a unit.
func (r *unitReader) appendUnitLines(dst []byte, county schemas.CountyIndex, units []countedUnit, moved map[schemas.UnitIndex][]uint32) ([]byte, error) {
	place := &r.election.Counties[county]
	var lines []unitLine
	for _, u := range place.Units {
		if units[u].cells == nil {
			continue
		}
		cells, err := r.read(u, units[u])
		if err != nil {
			return dst, err
		}
		row := make([]int64, len(cells))
		for i, n := range cells {
			row[i] = int64(n)
		}
		sections := r.election.Units[u].Style.Sections
		for i := range sections {
			if n := corrections(moved[u], int32(i)); n > 0 || row[sections[i].Offset] > 0 {
				lines = append(lines, unitLine{r.election.ContestID(sections[i].Contest), schemas.CountyID(r.election.Units[u].ID), 1, &sections[i], n, row})
			}
		}
	}
	for _, t := range r.takings(county) {
		of := &r.election.Remainders[t.Remainder]
		for i, s := range suppress.Sections(r.election, of) {
			lines = append(lines, unitLine{r.election.ContestID(s.Contest), schemas.CountyID(of.ID), int64(s.Units), s, t.Moved[i], t.Row})
		}
	}
	slices.SortFunc(lines, func(a, b unitLine) int {
		return cmp.Or(cmp.Compare(a.contest, b.contest), cmp.Compare(a.place, b.place))
	})
	for _, l := range lines {
		dst = r.election.AppendLine(dst, l.section, l.place, l.units, l.moved, l.row)
	}
	return dst, nil
}
