package verify

import (
	"fmt"
	"slices"
	"strconv"

	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// unseal opens a sealed leaf where there are openings: then it is read like the
// leaf that it commits to.
func (r *reader) unseal(x *reading, l *leaf.Sealed) leaf.Leaf {
	if r.openings == nil {
		return l
	}
	inside, err := r.openings.Open(l)
	if err != nil {
		x.unopened = err
		return l
	}
	x.sealed, x.inside = l, inside
	return inside
}

// takeSealed counts a sealed leaf: by its numbers where it was opened, else by
// what it shows.
func (v *verification) takeSealed(index int64, x *reading, l *leaf.Sealed) {
	if x.unopened != nil {
		v.report.find(CheckSeal, fmt.Sprintf("leaf %d", index), "%v", x.unopened)
	}
	if x.inside == nil {
		v.tally.takeSealed(index, l)
		return
	}
	if v.tally.hidden != nil {
		v.tally.hidden.sealed++
	}
	v.reauthorize(x, x.inside)
	v.tally.take(index, x)
}

// checkSealing: exactly the leaves of hidden units are sealed.
func (t *tally) checkSealing(where string, x *reading) {
	hidden := t.hidden != nil && (x.revision == 0 || x.addressed && t.hides(x.unit))
	switch {
	case hidden && x.sealed == nil:
		t.report.find(CheckSeal, where, "it is open, and the definition hides the unit that it is of")
	case !hidden && x.sealed != nil:
		t.report.find(CheckSeal, where, "it is sealed, and the definition does not hide what is in it")
	}
}

// stateOpened takes in a hidden unit's statement of which the numbers are known.
func (t *tally) stateOpened(x *reading, revision schemas.Revision) {
	st := suppress.Statement{Unit: x.unit, Revision: revision, Seq: x.place.seq}
	if x.sealed != nil {
		st.Commitment = x.sealed.Commitment
	}
	t.state(fmt.Sprintf("entry %d of partition %d", x.place.seq, x.place.partition), st)
}

// addUp makes a remainder's numbers of its units' rows.
func (t *tally) addUp(r *schemas.Remainder) []int64 {
	place, types := &t.election.Counties[r.County], t.election.Types()
	sum := make([]int64, place.Cells)
	for _, u := range r.Units {
		unit := &t.election.Units[u]
		cells := t.counted(u)
		for i := range unit.Style.Sections {
			s := &unit.Style.Sections[i]
			if shown := r.Sections[unit.CountySections[i]]; shown.Shown {
				n := 1 + int(s.Selections)*types
				if s.Residuals && shown.Residuals {
					n += 2 * types
				}
				for k := 1; k < n; k++ {
					sum[int(unit.Offsets[i])+k] += int64(cells[int(s.Offset)+k])
				}
			}
		}
	}
	for i := range place.Sections {
		if r.Sections[i].Shown {
			sum[place.Sections[i].Offset] = int64(r.Sections[i].Voting)
		}
	}
	return sum
}

// checkSum recounts a taking of which every leaf was opened.
func (t *tally) checkSum(r *schemas.Remainder, signed *suppress.Taking) {
	if want := t.addUp(r); !slices.Equal(want, signed.Row) {
		t.report.find(CheckRemainder, string(r.ID), "taking %d is not what its %d opened leaves add up to", signed.Number, len(signed.Statements))
	}
}

// listed reports whether files by unit list the unit.
func (t *tally) listed(u schemas.UnitIndex) bool { return t.units[u].Revision != 0 && !t.hides(u) }

// remainder is the row of a remainder as it is shown, nil before the first.
func (t *tally) remainder(i int) []int64 {
	if t.hidden == nil || t.hidden.shown[i] == nil {
		return nil
	}
	return t.hidden.shown[i].Row
}

// shownSection is a section of the county's row as a remainder shows it.
func (t *tally) shownSection(r *schemas.Remainder, i int) (s schemas.Section, ok bool) {
	s = t.election.Counties[r.County].Sections[i]
	s.Residuals = s.Residuals && r.Sections[i].Residuals
	return s, r.Sections[i].Shown
}

// remainderLines are the lines by unit of a county's remainders.
func (t *tally) remainderLines(county schemas.CountyIndex) (lines []line) {
	first, of := t.election.RemaindersOf(county)
	for k := range of {
		row := t.remainder(first + k)
		for i := range of[k].Sections {
			if s, ok := t.shownSection(&of[k], i); ok && row != nil {
				id, moved := schemas.CountyID(of[k].ID), t.hidden.shown[first+k].Moved[i]
				lines = append(lines, line{t.election.ContestID(s.Contest), id, t.election.AppendLine(nil, &s, id, int64(of[k].Sections[i].Voting), moved, row)})
			}
		}
	}
	return lines
}

// appendRemainders appends the rows of a county's remainders to a table.
func (t *tally) appendRemainders(dst []byte, county schemas.CountyIndex) []byte {
	e := t.election
	types := e.Definition.CountTypes
	first, of := e.RemaindersOf(county)
	for k := range of {
		row := t.remainder(first + k)
		for i := range of[k].Sections {
			s, ok := t.shownSection(&of[k], i)
			if !ok || row == nil {
				continue
			}
			for c, n := range row[s.Offset:][1:s.Size(len(types))] {
				dst = fmt.Appendf(dst, "%s,%s,%s,%s,%s,", e.Counties[county].ID, of[k].ID, e.ContestID(s.Contest), t.selection(&s, c/len(types)), types[c%len(types)])
				dst = append(strconv.AppendInt(dst, n, 10), '\n')
			}
		}
	}
	return dst
}
