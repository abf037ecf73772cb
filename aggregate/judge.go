package aggregate

import "tallystream/schemas"

// standing is what a submission is held against: what counts as it comes.
type standing struct {
	counted schemas.Revision // of the unit; 0: none
	// before is the unit's counted row; nil: none, or a later revision counts.
	before []schemas.Count
	county []int64 // the county's row, of which before is a part
	// keys counts, by their key, the county's rows that the twin rule applies
	// to; before is among them.
	keys map[schemas.TwinKey]int
}

// judge is the rule of what counts. The submission was read and was not seen
// before.
func judge(e *schemas.Election, s *standing, st *schemas.Statement) (Outcome, schemas.HoldCode) {
	if st.Revision < s.counted {
		return Superseded, ""
	}
	if hold := e.Implausible(st); hold != "" {
		return Held, hold
	}
	if st.Correction {
		return Counted, "" // two supervisors say that it is right
	}
	if s.before != nil {
		if hold := e.Lowered(st.Unit, s.before, st.Cells); hold != "" {
			return Held, hold
		}
	}
	if s.hasTwin(e, st) {
		return Held, schemas.HoldTwin
	}
	if e.Outlier(st.Unit, s.county, s.before, st.Cells) != nil {
		return Held, schemas.HoldOutlier
	}
	return Counted, ""
}

// hasTwin reports whether another unit's counted row says the same.
func (s *standing) hasTwin(e *schemas.Election, st *schemas.Statement) bool {
	key, applies := e.Twin(st.Unit, st.Cells)
	if !applies {
		return false
	}
	others := s.keys[key]
	if s.before != nil {
		if own, applies := e.Twin(st.Unit, s.before); applies && own == key {
			others--
		}
	}
	return others > 0
}

// replaceKey follows the replacement of a unit's row in the index of its
// county. Nothing is kept where the definition has no twin rule.
func (m *memory) replaceKey(unit schemas.UnitIndex, before, after []schemas.Count) {
	keys := m.keys[m.election.Units[unit].County]
	if keys == nil {
		return
	}
	if before != nil {
		if key, applies := m.election.Twin(unit, before); applies {
			if keys[key]--; keys[key] == 0 {
				delete(keys, key)
			}
		}
	}
	if key, applies := m.election.Twin(unit, after); applies {
		keys[key]++
	}
}
