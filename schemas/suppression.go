package schemas

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// SuppressionRule hides the numbers of small units. Which units that are, and
// whom they are added up with, follows from the definition alone, so that
// nothing is told by what is hidden when.
type SuppressionRule struct {
	// Below: a unit of fewer registered voters is small; where they are not known,
	// of fewer ballots in its history. A unit of which neither is known is small.
	Below int `json:"below"`
}

// LeastBelow is the lowest bound of a SuppressionRule that hides anything.
const LeastBelow = 2

// remainderPrefix begins the identifiers of remainders. Units of an election
// with suppression must not have such a one.
const remainderPrefix = "combined-"

// Remainder is a group of units of one county whose numbers are published as one
// sum and in no other way: those that are small, and as many others as it takes
// for a sum that hides them.
type Remainder struct {
	ID     UnitID // stands where a unit's identifier would: combined-1, combined-2, ...
	County CountyIndex
	Units  []UnitIndex // sorted
	// Sections of the county's row, one each.
	Sections []RemainderSection
}

// RemainderSection says what of a section of the county's row the remainder
// shows.
type RemainderSection struct {
	Voting int32 // units of the remainder that vote on the contest
	// Shown: they are at least two, and together not small. Otherwise nobody learns
	// of their votes in this contest, in no sum.
	Shown bool
	// Residuals: undervotes and overvotes are shown, too. With the ballots cast they
	// tell how many ballots those that vote on the contest have; so they are left
	// out where two such numbers would differ by one unit.
	Residuals bool
}

// Has reports whether the unit belongs to the remainder.
func (r *Remainder) Has(u UnitIndex) bool {
	_, ok := slices.BinarySearch(r.Units, u)
	return ok
}

// RemainderOf is the index in Remainders of the one that the unit belongs to, or -1.
func (e *Election) RemainderOf(u UnitIndex) int {
	if e.remainderOf == nil {
		return -1
	}
	return int(e.remainderOf[u])
}

// RemaindersOf are those of a county: a run of Remainders, from an index on.
func (e *Election) RemaindersOf(c CountyIndex) (first int, of []Remainder) {
	first, _ = slices.BinarySearchFunc(e.Remainders, c, func(r Remainder, c CountyIndex) int { return cmp.Compare(r.County, c) })
	last := first
	for last < len(e.Remainders) && e.Remainders[last].County == c {
		last++
	}
	return first, e.Remainders[first:last]
}

// hidesIn reports whether some of the county's units are hidden.
func (e *Election) hidesIn(c CountyIndex) bool {
	_, of := e.RemaindersOf(c)
	return len(of) > 0
}

// sizeOf is how many people a unit stands for, as far as that is known before
// the night; 0: not known.
func (u *UnitPlace) sizeOf() int { return cmp.Or(u.Registered, u.History) }

func (r *SuppressionRule) validate() error {
	if r != nil && (r.Below < LeastBelow || r.Below > int(MaxCount)) {
		return fmt.Errorf("rules: suppression: below is %d, want %d to %d", r.Below, LeastBelow, MaxCount)
	}
	return nil
}

// validateSuppression refuses what cannot be hidden, or told apart.
func (d *Definition) validateSuppression() error {
	if d.Rules.Suppression == nil {
		return nil
	}
	known := false
	for i := range d.Units {
		u := &d.Units[i]
		known = known || u.Registered > 0 || u.History > 0
		if n, ok := strings.CutPrefix(string(u.ID), remainderPrefix); ok {
			if _, err := strconv.ParseUint(n, 10, 32); err == nil {
				return fmt.Errorf("unit %s: with rules.suppression the identifier is reserved", u.ID)
			}
		}
	}
	if !known {
		return fmt.Errorf("rules: suppression: no unit has registered voters or a history, so all would be small")
	}
	return nil
}

// combine finds the remainders. They are a function of the definition alone.
func (e *Election) combine() {
	rule := e.Definition.Rules.Suppression
	if rule == nil {
		return
	}
	e.remainderOf = slices.Repeat([]int32{-1}, len(e.Units))
	for c := range e.Counties {
		for _, units := range e.combineCounty(CountyIndex(c), rule.Below) {
			i := len(e.Remainders)
			slices.Sort(units)
			for _, u := range units {
				e.remainderOf[u] = int32(i)
			}
			e.Remainders = append(e.Remainders, Remainder{
				ID: UnitID(remainderPrefix + strconv.Itoa(i+1)), County: CountyIndex(c), Units: units,
				Sections: e.showSections(CountyIndex(c), units, rule.Below),
			})
		}
	}
}

// combineCounty groups a county's units. Each small one, in the definition's
// order, begins a group unless it is in one; the group then takes in others for
// as long as one of its contests would tell too much, and somebody can help.
func (e *Election) combineCounty(c CountyIndex, below int) (groups [][]UnitIndex) {
	free := map[UnitIndex]bool{}
	for _, u := range e.Counties[c].Units {
		free[u] = true
	}
	for _, u := range e.Counties[c].Units {
		if !free[u] || e.Units[u].sizeOf() >= below {
			continue
		}
		group := []UnitIndex{u}
		delete(free, u)
		for {
			thin := e.thinSections(c, group, below)
			if len(thin) == 0 {
				break
			}
			if more, ok := e.whoHelps(thin, slices.Sorted(maps.Keys(free)), below); ok {
				group = append(group, more)
				delete(free, more)
				continue
			}
			i := slices.IndexFunc(groups, func(g []UnitIndex) bool {
				return slices.ContainsFunc(g, func(u UnitIndex) bool { return e.votesOnAny(u, thin) })
			})
			if i < 0 {
				break // nobody can: what is thin is not shown
			}
			group = append(group, groups[i]...)
			groups = slices.Delete(groups, i, i+1)
		}
		groups = append(groups, group)
	}
	return groups
}

// thinSections are the county's sections that somebody of the group votes on,
// and too few to be hidden in.
func (e *Election) thinSections(c CountyIndex, group []UnitIndex, below int) map[int32]bool {
	voting, size := e.spread(c, group)
	thin := map[int32]bool{}
	for i := range voting {
		if voting[i] > 0 && !isThick(voting[i], size[i], below) {
			thin[int32(i)] = true
		}
	}
	return thin
}

// isThick reports whether so many units, of so many people, may be shown in a
// sum.
func isThick(units int32, people, below int) bool { return units >= 2 && people >= below }

// spread counts, by section of the county, the units that vote on it and their
// people.
func (e *Election) spread(c CountyIndex, group []UnitIndex) (voting []int32, people []int) {
	n := len(e.Counties[c].Sections)
	voting, people = make([]int32, n), make([]int, n)
	for _, u := range group {
		for _, i := range e.Units[u].CountySections {
			voting[i]++
			people[i] += e.Units[u].sizeOf()
		}
	}
	return voting, people
}

// whoHelps picks the unit that votes on most of the thin sections: one of the
// same ballot style votes on all of them. Of several a small one, since that is
// hidden anyway; then the smallest; then the first.
func (e *Election) whoHelps(thin map[int32]bool, free []UnitIndex, below int) (best UnitIndex, ok bool) {
	most := 0
	for _, u := range free {
		n := 0
		for _, i := range e.Units[u].CountySections {
			if thin[i] {
				n++
			}
		}
		if n == 0 || n < most || n == most && !e.joinsRather(u, best, below) {
			continue
		}
		best, most, ok = u, n, true
	}
	return best, ok
}

func (e *Election) joinsRather(u, than UnitIndex, below int) bool {
	a, b := e.Units[u].sizeOf(), e.Units[than].sizeOf()
	if small := a < below; small != (b < below) {
		return small
	}
	return a < b
}

func (e *Election) votesOnAny(u UnitIndex, sections map[int32]bool) bool {
	return slices.ContainsFunc(e.Units[u].CountySections, func(i int32) bool { return sections[i] })
}

// showSections says what a remainder shows. Undervotes and overvotes make the sum
// of a section a multiple of its voters' ballots. Where each ballot style has two
// units or more, no such sums can be put together to one unit's; where one has a
// unit alone, they are shown of those contests only that all units vote on.
func (e *Election) showSections(c CountyIndex, units []UnitIndex, below int) []RemainderSection {
	styles := map[*Placement]int{}
	for _, u := range units {
		styles[e.Units[u].Placement]++
	}
	alone := false
	for _, n := range styles {
		alone = alone || n == 1
	}
	voting, people := e.spread(c, units)
	out := make([]RemainderSection, len(voting))
	for i, n := range voting {
		shown := isThick(n, people[i], below)
		out[i] = RemainderSection{Voting: n, Shown: shown, Residuals: shown && (!alone || int(n) == len(units))}
	}
	return out
}
