package script

import (
	"slices"
	"strings"

	"tallystream/schemas"
)

// phase is when a count type is known.
type phase uint8

const (
	beforeDay phase = iota // votes cast early, counted when the polls close
	onDay                  // votes of election day
	afterDay               // mail
	lastly                 // provisional and what else needs a decision
	phases
)

func phaseOf(t schemas.CountType) phase {
	switch t {
	case schemas.Early, "absentee-in-person":
		return beforeDay
	case schemas.ElectionDay, schemas.OtherCounts, "write-in":
		return onDay
	case schemas.Provisional:
		return lastly
	}
	if strings.Contains(string(t), "failsafe") || strings.Contains(string(t), "provisional") {
		return lastly
	}
	return afterDay
}

// stage is what one of a unit's revisions states: the count types known by
// then, all of what earlier stages stated included.
type stage struct {
	stated []bool // by count type
	fresh  []bool // stated, and not by the stage before
	full   bool   // every count type
	phase  phase  // of the last count type that became known
}

// stagesOf plans revisions stages. One states everything; two split off what
// comes after election day; three state early votes, then election day, then
// everything; four keep provisional votes for last. Further ones, and stages
// that an election has no count types for, state the same again.
func stagesOf(types []schemas.CountType, revisions int) []stage {
	var until []phase // the last phase that each stage includes
	switch revisions {
	case 1:
		until = []phase{lastly}
	case 2:
		until = []phase{onDay, lastly}
	case 3:
		until = []phase{beforeDay, onDay, lastly}
	default:
		until = []phase{beforeDay, onDay, afterDay}
		for len(until) < revisions {
			until = append(until, lastly)
		}
	}
	earliest := lastly
	for _, t := range types {
		earliest = min(earliest, phaseOf(t))
	}
	stages := make([]stage, len(until))
	before := make([]bool, len(types))
	for i := range stages {
		s := &stages[i]
		s.stated, s.fresh = make([]bool, len(types)), make([]bool, len(types))
		for k, t := range types {
			s.stated[k] = phaseOf(t) <= max(until[i], earliest)
			s.fresh[k] = s.stated[k] && !before[k]
			if s.fresh[k] {
				s.phase = max(s.phase, phaseOf(t))
			}
		}
		s.full = !slices.Contains(s.stated, false)
		if !slices.Contains(s.fresh, true) {
			s.phase = until[i]
		}
		before = s.stated
	}
	return stages
}

// limit takes out of a unit's final row what the stage does not state: other
// count types, and contests whose votes add up only over all of them.
func (s *stage) limit(e *schemas.Election, u schemas.UnitIndex, cells []schemas.Count) {
	if s.full {
		return
	}
	types := e.Types()
	for i := range e.Units[u].Style.Sections {
		sec := &e.Units[u].Style.Sections[i]
		part := cells[sec.Offset:][:sec.Size(types)]
		if sec.Contest != schemas.BallotsIndex && e.Definition.Contests[sec.Contest].Residuals == schemas.ResidualsTotal {
			clear(part)
			continue
		}
		for at := 1; at < len(part); at += types {
			for t, stated := range s.stated {
				if !stated {
					part[at+t] = 0
				}
			}
		}
	}
}
