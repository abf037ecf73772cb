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
	atOnce                 // no phase of a count type: of units that report once
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
	phase  phase  // says when it arrives
}

// stagesOf plans revisions stages. One states everything; two split off what
// comes after election day; three state early votes, then election day, then
// everything; four keep provisional votes for last. Further ones, and stages
// that an election has no count types for, state the same again.
func stagesOf(types []schemas.CountType, revisions int) []stage {
	// The last phase that each stage includes, and that by whose curve it
	// arrives.
	until, by := []phase{lastly}, []phase{atOnce}
	switch {
	case revisions == 2:
		until, by = []phase{onDay, lastly}, []phase{onDay, afterDay}
	case revisions == 3:
		until, by = []phase{beforeDay, onDay, lastly}, []phase{beforeDay, onDay, afterDay}
	case revisions > 3:
		until = []phase{beforeDay, onDay, afterDay}
		for len(until) < revisions {
			until = append(until, lastly)
		}
		by = until
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
		}
		s.full = !slices.Contains(s.stated, false)
		s.phase = by[i]
		before = s.stated
	}
	return stages
}

// limit takes out of a unit's final row what stage i does not state: other
// count types, and contests that do not add up without them.
func (s *Script) limit(i int, u schemas.UnitIndex, cells []schemas.Count) {
	st := &s.stages[i]
	if st.full {
		return
	}
	e := s.election
	types := e.Types()
	var gaps [schemas.MaxCountTypes]int64
	// Ballots come first in a row: they are cut last, since contests are held
	// against them.
	sections := e.Units[u].Style.Sections
	for k := len(sections) - 1; k >= 0; k-- {
		sec := &sections[k]
		part := cells[sec.Offset:][:sec.Size(types)]
		if sec.Contest != schemas.BallotsIndex && e.Definition.Contests[sec.Contest].Residuals == schemas.ResidualsTotal {
			gapsOf(gaps[:types], part[1:], cells[1:1+types], e.Definition.Contests[sec.Contest].VotesAllowed)
			if !s.closed(i, gaps[:types]) {
				clear(part)
				continue
			}
		}
		for at := 1; at < len(part); at += types {
			for t, stated := range st.stated {
				if !stated {
					part[at+t] = 0
				}
			}
		}
	}
}

// gapsOf fills gaps with what is missing of a contest's identity, by count
// type.
func gapsOf(gaps []int64, counts, ballots []schemas.Count, allowed int) {
	for t := range gaps {
		gaps[t] = -int64(ballots[t]) * int64(allowed)
	}
	for k, n := range counts {
		gaps[k%len(gaps)] += int64(n)
	}
}

// closed reports whether a contest that is only known to add up in total does
// so at stage i and at each one after it: once stated it must stay.
func (s *Script) closed(i int, gaps []int64) bool {
	for _, st := range s.stages[i:] {
		sum := int64(0)
		for t, stated := range st.stated {
			if stated {
				sum += gaps[t]
			}
		}
		if sum != 0 {
			return false
		}
	}
	return true
}
