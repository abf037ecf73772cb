package script

import (
	"tallystream/schemas"
	"tallystream/simulator/elections"
)

// alter makes a stage's true row what an event of the given kind states
// instead. It reports false if this unit gives no occasion for it. Each kind
// breaks one rule and no other, so that its outcome is certain.
func (s *Script) alter(k Kind, u schemas.UnitIndex, st *stage, cells []schemas.Count, d *elections.Draw) bool {
	a := alteration{e: s.election, unit: u, stage: st, cells: cells, d: d}
	switch k {
	case Misstated:
		return a.misstate()
	case Lowered, Conflict:
		return a.lower()
	case Unbalanced:
		return a.unbalance()
	case Overfull:
		return a.overfill()
	case Missing:
		return a.omit()
	case VotesExceed:
		return a.exceed()
	case UnknownUnit:
		return len(s.election.Units[u].ID)+len(strayUnit) <= schemas.MaxIdentifier
	case UnknownContest, Negative, Fraction, Huge:
		_, ok := a.find(func(*schemas.Section) bool { return true })
		return ok
	}
	return true
}

type alteration struct {
	e     *schemas.Election
	unit  schemas.UnitIndex
	stage *stage
	cells []schemas.Count
	d     *elections.Draw
}

// find returns a stated contest that fits, the first from a random one on.
func (a *alteration) find(fits func(*schemas.Section) bool) (*schemas.Section, bool) {
	sections := a.e.Units[a.unit].Style.Sections[1:]
	if len(sections) == 0 {
		return nil, false
	}
	start := a.d.Below(len(sections))
	for i := range sections {
		s := &sections[(start+i)%len(sections)]
		if a.cells[s.Offset] == 1 && fits(s) {
			return s, true
		}
	}
	return nil, false
}

// vote returns the first cell of s that counts votes of one of the given
// types, and its type.
func (a *alteration) vote(s *schemas.Section, among []bool) (cell, t int, ok bool) {
	types := a.e.Types()
	for k := range int(s.Selections) * types {
		if t := k % types; among[t] && a.cells[int(s.Offset)+1+k] > 0 {
			return int(s.Offset) + 1 + k, t, true
		}
	}
	return 0, 0, false
}

// misstate moves votes from one selection to another, as a copying error
// does. It takes them from count types that are stated for the first time, so
// that nothing is lower than before; votes still add up.
func (a *alteration) misstate() bool {
	s, ok := a.find(func(s *schemas.Section) bool {
		_, _, ok := a.vote(s, a.stage.fresh)
		return s.Selections > 1 && ok
	})
	if !ok {
		return false
	}
	types, first := a.e.Types(), int(s.Offset)+1
	from, _, _ := a.vote(s, a.stage.fresh)
	to := first + (from-first+types)%(int(s.Selections)*types)
	n := 1 + schemas.Count(a.d.Below(int(a.cells[from])))
	a.cells[from] -= n
	a.cells[to] += n
	return a.cells[to] <= schemas.MaxCount
}

// lower takes a vote away, and leaves it to the undervotes where those are
// known, so that votes still add up.
func (a *alteration) lower() bool {
	s, ok := a.find(func(s *schemas.Section) bool {
		_, _, ok := a.vote(s, a.stage.stated)
		return ok
	})
	if !ok {
		return false
	}
	cell, t, _ := a.vote(s, a.stage.stated)
	n := 1 + schemas.Count(a.d.Below(int(a.cells[cell])))
	a.cells[cell] -= n
	if s.Residuals {
		a.cells[a.undervotes(s)+t] += n
	}
	return true
}

func (a *alteration) undervotes(s *schemas.Section) int {
	return int(s.Offset) + 1 + int(s.Selections)*a.e.Types()
}

// firstStated is the first count type of the stage.
func (a *alteration) firstStated() int {
	for t, stated := range a.stage.stated {
		if stated {
			return t
		}
	}
	return 0
}

func known(s *schemas.Section) bool { return s.Residuals }

// unbalance adds undervotes to one contest.
func (a *alteration) unbalance() bool {
	s, ok := a.find(known)
	if ok {
		a.cells[a.undervotes(s)+a.firstStated()] += 1 + schemas.Count(a.d.Below(9))
	}
	return ok
}

// overfill adds blank ballots until there are more than registered voters.
func (a *alteration) overfill() bool {
	rules, registered := a.e.Definition.Rules, a.e.Units[a.unit].Registered
	if !rules.Ballots || !rules.Registered || registered == 0 {
		return false
	}
	t := a.firstStated()
	n := schemas.Count(registered) + 1
	a.cells[1+t] += n
	sections := a.e.Units[a.unit].Style.Sections
	for i := 1; i < len(sections); i++ {
		if s := &sections[i]; s.Residuals && a.cells[s.Offset] == 1 {
			a.cells[a.undervotes(s)+t] += n * schemas.Count(a.e.Definition.Contests[s.Contest].VotesAllowed)
		}
	}
	return true
}

// omit leaves a contest out.
func (a *alteration) omit() bool {
	s, ok := a.find(func(*schemas.Section) bool { return true })
	if ok {
		clear(a.cells[s.Offset:][:s.Size(a.e.Types())])
	}
	return ok
}

// exceed gives a selection more votes than all ballots could hold.
func (a *alteration) exceed() bool {
	if !a.e.Definition.Rules.Ballots {
		return false
	}
	s, ok := a.find(known)
	if !ok {
		return false
	}
	room := schemas.Count(1)
	for _, n := range a.cells[1 : 1+a.e.Types()] {
		room += n * schemas.Count(a.e.Definition.Contests[s.Contest].VotesAllowed)
	}
	a.cells[int(s.Offset)+1+a.firstStated()] += room
	return true
}
