package publish

import (
	"fmt"
	"slices"
	"strconv"

	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// csvHeader begins every CSV file (RFC 4180, lines end in LF). Every cell is an
// identifier or a whole number, so nothing is ever quoted. There is one row
// for each selection and count type of each contest that a unit states, zeros
// included, and no row that is a sum of others.
const csvHeader = "county,unit,contest,selection,count_type,votes\n"

// unitReader walks over the counted rows of a county's units.
type unitReader struct {
	election *schemas.Election
	newest   []*suppress.Taking // by remainder; nil where nobody is hidden
	cells    []schemas.Count
}

// read expands a unit's row. The result is valid until the next call.
func (r *unitReader) read(u schemas.UnitIndex, unit countedUnit) ([]schemas.Count, error) {
	n := r.election.Units[u].Style.Cells
	r.cells = slices.Grow(r.cells[:0], n)[:n]
	if err := schemas.ReadCells(unit.cells, r.cells); err != nil {
		return nil, fmt.Errorf("reading the row of unit %s: %w", r.election.Units[u].ID, err)
	}
	return r.cells, nil
}

// appendCSV appends the rows of one county's units, without the header, and
// returns how many they are.
func (r *unitReader) appendCSV(dst []byte, county schemas.CountyIndex, units []countedUnit) ([]byte, int, error) {
	place := &r.election.Counties[county]
	names := cellNames(r.election, place.Sections)
	dst = slices.Grow(dst, r.sizeCSV(place, names, units))
	rows := 0
	var prefix []byte
	for _, u := range place.Units {
		if units[u].cells == nil {
			continue
		}
		cells, err := r.read(u, units[u])
		if err != nil {
			return dst, rows, err
		}
		prefix = append(append(append(append(prefix[:0], place.ID...), ','), r.election.Units[u].ID...), ',')
		at := r.election.Units[u].Placement
		for i := range at.Style.Sections {
			section := cells[at.Style.Sections[i].Offset:]
			if section[0] == 0 {
				continue // not stated
			}
			cellsOf := names[at.CountySections[i]]
			for k, name := range cellsOf {
				dst = append(dst, prefix...)
				dst = append(dst, name...)
				dst = strconv.AppendUint(dst, uint64(section[1+k]), 10)
				dst = append(dst, '\n')
			}
			rows += len(cellsOf)
		}
	}
	dst, more := r.appendRemainders(dst, county, names)
	return dst, rows + more, nil
}

// sizeCSV estimates the bytes of appendCSV, so that a large county's file does
// not move through ever larger buffers.
func (r *unitReader) sizeCSV(place *schemas.CountyPlace, names [][][]byte, units []countedUnit) int {
	const digits = 4 // with the newline
	size, rows := make([]int, len(names)), make([]int, len(names))
	for i := range names {
		for _, name := range names[i] {
			size[i] += len(name)
		}
		rows[i] = len(names[i])
	}
	total := 0
	for _, u := range place.Units {
		if units[u].cells == nil {
			continue
		}
		prefix := len(place.ID) + len(r.election.Units[u].ID) + 2
		for _, i := range r.election.Units[u].CountySections {
			total += size[i] + rows[i]*(prefix+digits)
		}
	}
	return total
}

// cellNames spells "contest,selection,count_type," for each cell behind the
// report cell of each section.
func cellNames(e *schemas.Election, sections []schemas.Section) [][][]byte {
	out := make([][][]byte, len(sections))
	for i := range sections {
		s := &sections[i]
		for k := range int(s.Selections) {
			out[i] = appendCellNames(out[i], e, s.Contest, selectionID(e, s.Contest, k))
		}
		if s.Residuals {
			out[i] = appendCellNames(out[i], e, s.Contest, schemas.Undervotes)
			out[i] = appendCellNames(out[i], e, s.Contest, schemas.Overvotes)
		}
	}
	return out
}

func appendCellNames(dst [][]byte, e *schemas.Election, contest schemas.ContestIndex, selection schemas.SelectionID) [][]byte {
	for _, t := range e.Definition.CountTypes {
		dst = append(dst, fmt.Appendf(nil, "%s,%s,%s,", e.ContestID(contest), selection, t))
	}
	return dst
}

func selectionID(e *schemas.Election, contest schemas.ContestIndex, k int) schemas.SelectionID {
	if contest == schemas.BallotsIndex {
		return schemas.Ballots
	}
	return e.Definition.Contests[contest].Selections[k].ID
}
