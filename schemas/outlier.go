package schemas

import (
	"crypto/sha256"
	"fmt"
)

// OutlierFinding says which rule a statement broke, with its figures.
type OutlierFinding struct {
	Rule    string    `json:"rule"`    // history or neighbours
	Contest ContestID `json:"contest"` // BallotsCast where ballots are compared
	Value   int64     `json:"value"`   // what the unit states
	Against int64     `json:"against"` // its history, or the neighbours' mean, rounded down
	Percent int       `json:"percent"` // of Against, at most which is let pass
}

// String is the finding in words, for people.
func (f *OutlierFinding) String() string {
	return fmt.Sprintf("%s of %s: %d, against %d (rule: at most %d%%)", f.Rule, f.Contest, f.Value, f.Against, f.Percent)
}

// Outlier holds a unit's row against its history and its neighbours, and
// returns the first rule that it breaks, or nil. county is the row of its
// county as it stands, of which before is the unit's part; a nil before is a unit
// that does not count yet. Administrative units are let pass: they are no
// precincts, and of any size.
func (e *Election) Outlier(unit UnitIndex, county []int64, before, after []Count) *OutlierFinding {
	rules, u := e.Definition.Rules.Outliers, &e.Units[unit]
	if rules == nil || u.Kind == AdministrativeUnit {
		return nil
	}
	if h := rules.History; h != nil && u.History > 0 && e.Definition.Rules.Ballots {
		ballots := e.sumOf(&u.Style.Sections[0], after)
		if ballots > int64(h.Least) && ballots*100 > int64(u.History)*int64(h.Percent) {
			return &OutlierFinding{Rule: "history", Contest: BallotsCast, Value: ballots, Against: int64(u.History), Percent: h.Percent}
		}
	}
	if rules.Neighbours == nil || e.hidesIn(u.County) {
		return nil
	}
	for i := range u.Style.Sections {
		if f := e.aboveNeighbours(u, i, county, before, after); f != nil {
			return f
		}
		if e.Definition.Rules.Ballots {
			break // they say it best, and are the first section
		}
	}
	return nil
}

// aboveNeighbours compares section i with its mean over the other units that
// state it.
func (e *Election) aboveNeighbours(u *UnitPlace, i int, county []int64, before, after []Count) *OutlierFinding {
	rule, s := e.Definition.Rules.Outliers.Neighbours, &u.Style.Sections[i]
	at := u.Offsets[i]
	others, sum := county[at], int64(0)
	for k := range int64(s.Selections) * int64(e.Types()) {
		sum += county[int64(at)+1+k]
	}
	if before != nil {
		others -= int64(before[s.Offset])
		sum -= e.sumOf(s, before)
	}
	value := e.sumOf(s, after)
	if others < int64(rule.Units) || sum == 0 || value <= int64(rule.Least) || value*100*others <= sum*int64(rule.Percent) {
		return nil
	}
	return &OutlierFinding{Rule: "neighbours", Contest: e.ContestID(s.Contest), Value: value, Against: sum / others, Percent: rule.Percent}
}

// sumOf adds up a section of a unit's row, without residuals.
func (e *Election) sumOf(s *Section, cells []Count) (sum int64) {
	for _, n := range cells[s.Offset+1:][:int(s.Selections)*e.Types()] {
		sum += int64(n)
	}
	return sum
}

// TwinKey is equal for two rows exactly if they say the same of the same
// ballot style.
type TwinKey [16]byte

// Twin returns the key under which another unit's row of the county would be
// the same, and whether the rule applies: there is one, and the row's votes reach
// its least. It does not apply to units that are hidden: their numbers would be
// told by whoever has the same.
func (e *Election) Twin(unit UnitIndex, cells []Count) (key TwinKey, applies bool) {
	rules := e.Definition.Rules.Outliers
	if rules == nil || rules.Twins == nil || e.RemainderOf(unit) >= 0 {
		return key, false
	}
	style, votes := e.Units[unit].Style, int64(0)
	for i := 1; i < len(style.Sections); i++ {
		votes += e.sumOf(&style.Sections[i], cells)
	}
	if votes < int64(rules.Twins.Least) {
		return key, false
	}
	text := append([]byte(e.Definition.Units[unit].Style), 0)
	sum := sha256.Sum256(AppendCells(text, cells))
	return TwinKey(sum[:16]), true
}
