package publish

import (
	"cmp"
	"slices"

	"tallystream/schemas"
)

// unitLine is one unit's statement of one contest.
type unitLine struct {
	contest schemas.ContestID
	unit    schemas.UnitIndex
	section *schemas.Section
	row     []int64
}

// appendUnitLines appends a county's document lines by unit, for each contest
// that a unit states, sorted like every document.
func (r *unitReader) appendUnitLines(dst []byte, county schemas.CountyIndex, units []countedUnit) ([]byte, error) {
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
			if row[sections[i].Offset] > 0 {
				lines = append(lines, unitLine{r.election.ContestID(sections[i].Contest), u, &sections[i], row})
			}
		}
	}
	slices.SortFunc(lines, func(a, b unitLine) int {
		return cmp.Or(cmp.Compare(a.contest, b.contest), cmp.Compare(r.election.Units[a.unit].ID, r.election.Units[b.unit].ID))
	})
	for _, l := range lines {
		dst = r.election.AppendLine(dst, l.section, schemas.CountyID(r.election.Units[l.unit].ID), 1, l.row)
	}
	return dst, nil
}
