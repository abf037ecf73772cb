package verify

import (
	"bytes"
	"crypto/sha256"

	"tallystream/schemas"
)

// The rules against history, neighbours and twins, written from their words in
// schemas/README.md, not from the pipeline's code.

// outlier returns the first of the rules against history and neighbours that a
// unit's row breaks, with its figures; nil where it breaks none. county is the
// county's row as it stands, of which before (nil: none) is the unit's part.
func outlier(e *schemas.Election, unit schemas.UnitIndex, county []int64, before, after []schemas.Count) *schemas.OutlierFinding {
	rules, u := e.Definition.Rules.Outliers, &e.Units[unit]
	if rules == nil || u.Kind == schemas.AdministrativeUnit {
		return nil
	}
	ballots := e.Definition.Rules.Ballots
	if rule := rules.History; rule != nil && ballots && u.History > 0 {
		cast := votesOf(e, &u.Style.Sections[0], after)
		if cast > int64(rule.Least) && 100*cast > int64(rule.Percent)*int64(u.History) {
			return &schemas.OutlierFinding{Rule: "history", Contest: schemas.BallotsCast, Value: cast, Against: int64(u.History), Percent: rule.Percent}
		}
	}
	rule := rules.Neighbours
	if _, hidden := e.RemaindersOf(u.County); len(hidden) > 0 {
		return nil // their mean would tell of those
	}
	for i := range u.Style.Sections {
		if rule == nil || ballots && i > 0 { // ballots say it best
			return nil
		}
		s, row := &u.Style.Sections[i], county[u.Offsets[i]:]
		units, votes, own := row[0], int64(0), votesOf(e, s, after)
		for _, n := range row[1:][:int(s.Selections)*e.Types()] {
			votes += n
		}
		if before != nil {
			units, votes = units-int64(before[s.Offset]), votes-votesOf(e, s, before)
		}
		if units >= int64(rule.Units) && votes != 0 && own > int64(rule.Least) && own*100*units > votes*int64(rule.Percent) {
			return &schemas.OutlierFinding{Rule: "neighbours", Contest: e.ContestID(s.Contest), Value: own, Against: votes / units, Percent: rule.Percent}
		}
	}
	return nil
}

// votesOf adds up what a row says of a section, without undervotes and
// overvotes.
func votesOf(e *schemas.Election, s *schemas.Section, cells []schemas.Count) (n int64) {
	for i := range int(s.Selections) * e.Types() {
		n += int64(cells[int(s.Offset)+1+i])
	}
	return n
}

// rowKey tells rows apart that say something else, or of another ballot style.
type rowKey [16]byte

// keyOf is the key of a row under the rule against twins; false where there is no
// rule, or it has too few votes for it.
func (t *tally) keyOf(unit schemas.UnitIndex, cells []schemas.Count) (key rowKey, ok bool) {
	if t.twins == nil || t.hides(unit) {
		return key, false
	}
	e, votes := t.election, int64(0)
	style := e.Units[unit].Style
	for i := range style.Sections {
		if s := &style.Sections[i]; s.Contest != schemas.BallotsIndex {
			votes += votesOf(e, s, cells)
		}
	}
	if votes < int64(e.Definition.Rules.Outliers.Twins.Least) {
		return key, false
	}
	text := schemas.AppendCells([]byte(e.Definition.Units[unit].Style+"\n"), cells)
	sum := sha256.Sum256(text)
	return rowKey(sum[:len(key)]), true
}

// countRow adds n to the units of the county that have this row.
func (t *tally) countRow(unit schemas.UnitIndex, cells []schemas.Count, n int) {
	key, ok := t.keyOf(unit, cells)
	if !ok {
		return
	}
	c := t.election.Units[unit].County
	if t.twins[c] == nil {
		t.twins[c] = map[rowKey]int{}
	}
	if t.twins[c][key] += n; t.twins[c][key] == 0 {
		delete(t.twins[c], key)
	}
}

// hasTwin reports whether another unit of the county counts with the same row.
func (t *tally) hasTwin(unit schemas.UnitIndex, cells []schemas.Count) bool {
	key, ok := t.keyOf(unit, cells)
	if !ok {
		return false
	}
	n := t.twins[t.election.Units[unit].County][key]
	if u := &t.units[unit]; u.Revision != 0 && n > 0 && bytes.Equal(u.Cells, schemas.AppendCells(nil, cells)) {
		n-- // its own
	}
	return n > 0
}

// twinOf is the first unit, in the definition's order, that hasTwin found.
func (t *tally) twinOf(unit schemas.UnitIndex, cells []schemas.Count) schemas.UnitID {
	packed, e := schemas.AppendCells(nil, cells), t.election
	for _, other := range e.Counties[e.Units[unit].County].Units {
		if other != unit && e.Definition.Units[other].Style == e.Definition.Units[unit].Style && bytes.Equal(t.units[other].Cells, packed) {
			return e.Units[other].ID
		}
	}
	return ""
}
