package schemas

import (
	"fmt"
	"slices"
	"strings"
)

// Indexes into an Election. They are dense, follow the definition's order, and
// never leave the process: what is stored or sent carries identifiers.
type (
	// ContestIndex indexes Definition.Contests.
	ContestIndex int32
	// CountyIndex indexes Definition.Counties.
	CountyIndex int32
	// UnitIndex indexes Definition.Units.
	UnitIndex int32
)

// BallotsIndex is the contest index of the reserved contest BallotsCast.
const BallotsIndex ContestIndex = -1

// Section is where a contest's cells lie in a flat row of counts: a unit's
// Statement or a county's Tally. Cell 0 counts reports (of a unit: 1 if it
// states the contest). Then come, each with one cell a count type, the
// selections in the definition's order, and where the contest knows its
// residuals the undervotes and the overvotes.
//
// The first section of every row belongs to BallotsIndex: its cell 0 counts
// units that reported at all, its counts (if Rules.Ballots) are ballots cast.
type Section struct {
	Contest    ContestIndex
	Offset     int32
	Selections int32 // 1 for ballots, or 0 where ballots are not known
	Residuals  bool
	// Units that vote on the contest: within the county for a county's row.
	Units int32
}

// Size is the number of cells of s with types count types.
func (s *Section) Size(types int) int {
	n := int(s.Selections)
	if s.Residuals {
		n += 2
	}
	return 1 + n*types
}

// Layout is the order of sections in a row: ballots first, then contests
// sorted by identifier.
type Layout struct {
	Sections []Section
	Cells    int
}

// Placement says how a unit's row folds into its county's: section i of the
// style begins at Offsets[i] of the county's row. Units of one county and
// style share it.
type Placement struct {
	Style   *Layout
	Offsets []int32
	// CountySections holds the index of each section in the county's layout.
	CountySections []int32
}

// UnitPlace is what the pipeline needs to know of a unit.
type UnitPlace struct {
	ID         UnitID
	County     CountyIndex
	Registered int // 0: not known
	History    int // 0: not known
	Kind       UnitKind
	*Placement
}

// CountyPlace is what the pipeline needs to know of a county.
type CountyPlace struct {
	ID        CountyID
	State     int32 // index into Definition.States
	Partition Partition
	Units     []UnitIndex
	Layout
}

// Election is a definition compiled for counting: dense indexes and layouts.
// It is immutable and safe for concurrent use.
type Election struct {
	Definition *Definition
	// Hash is the ballot-definition hash: SHA-256 of the definition's bytes.
	Hash     Digest
	Units    []UnitPlace
	Counties []CountyPlace
	// Remainders are the groups of units that are published as one sum each, in
	// the order of their counties; none without Rules.Suppression.
	Remainders []Remainder

	remainderOf []int32 // by unit: index into Remainders, or -1; nil without any

	hashText string
	units    map[UnitID]UnitIndex
	counties map[CountyID]CountyIndex
	contests map[ContestID]ContestIndex
	types    map[CountType]int
}

// OpenElection parses, validates and compiles a definition's exact bytes.
func OpenElection(b []byte) (*Election, error) {
	d, err := ParseDefinition(b)
	if err != nil {
		return nil, err
	}
	return compile(d, DigestOf(b)), nil
}

// Types is the number of count types.
func (e *Election) Types() int { return len(e.Definition.CountTypes) }

// Unit looks a unit up.
func (e *Election) Unit(id UnitID) (UnitIndex, bool) { i, ok := e.units[id]; return i, ok }

// County looks a county up.
func (e *Election) County(id CountyID) (CountyIndex, bool) { i, ok := e.counties[id]; return i, ok }

// Contest looks a contest up; BallotsCast is BallotsIndex.
func (e *Election) Contest(id ContestID) (ContestIndex, bool) {
	if id == BallotsCast {
		return BallotsIndex, true
	}
	i, ok := e.contests[id]
	return i, ok
}

// ContestID is the identifier of contest i, BallotsCast for BallotsIndex.
func (e *Election) ContestID(i ContestIndex) ContestID {
	if i == BallotsIndex {
		return BallotsCast
	}
	return e.Definition.Contests[i].ID
}

// PartitionOf is the partition of a unit's county.
func (e *Election) PartitionOf(u UnitIndex) Partition {
	return e.Counties[e.Units[u].County].Partition
}

func compile(d *Definition, hash Digest) *Election {
	d.pack()
	e := &Election{
		Definition: d, Hash: hash, hashText: hash.String(),
		Units:    make([]UnitPlace, len(d.Units)),
		Counties: make([]CountyPlace, len(d.Counties)),
		units:    make(map[UnitID]UnitIndex, len(d.Units)),
		counties: make(map[CountyID]CountyIndex, len(d.Counties)),
		contests: make(map[ContestID]ContestIndex, len(d.Contests)),
		types:    make(map[CountType]int, len(d.CountTypes)),
	}
	for i, t := range d.CountTypes {
		e.types[t] = i
	}
	for i := range d.Contests {
		e.contests[d.Contests[i].ID] = ContestIndex(i)
	}
	states := make(map[CountyID]int32, len(d.States))
	for i := range d.States {
		states[d.States[i].ID] = int32(i)
	}
	for i := range d.Counties {
		c := &d.Counties[i]
		e.counties[c.ID] = CountyIndex(i)
		e.Counties[i] = CountyPlace{ID: c.ID, State: states[c.State], Partition: Partition(i % d.Partitions)}
	}
	styles := make(map[StyleID]*Layout, len(d.Styles))
	for i := range d.Styles {
		styles[d.Styles[i].ID] = e.layout(d.Styles[i].Contests)
	}
	for i := range d.Units {
		u := &d.Units[i]
		e.units[u.ID] = UnitIndex(i)
		c := e.counties[u.County]
		e.Units[i] = UnitPlace{ID: u.ID, County: c, Registered: u.Registered, History: u.History, Kind: u.Kind}
		e.Counties[c].Units = append(e.Counties[c].Units, UnitIndex(i))
	}
	for c := range e.Counties {
		e.place(CountyIndex(c), styles)
	}
	e.combine()
	return e
}

// pack copies what every submission is compared with, the identifiers of
// contests and selections, side by side. The parser leaves them all over
// memory, and at 100,000 contests each comparison then waits for it.
func (d *Definition) pack() {
	bytes, selections := 0, 0
	for i := range d.Contests {
		c := &d.Contests[i]
		bytes += len(c.ID)
		selections += len(c.Selections)
		for k := range c.Selections {
			bytes += len(c.Selections[k].ID)
		}
	}
	var text strings.Builder
	text.Grow(bytes) // so that no string moves
	packed := func(s string) string {
		text.WriteString(s)
		return text.String()[text.Len()-len(s):]
	}
	all := make([]Selection, 0, selections)
	for i := range d.Contests {
		c := &d.Contests[i]
		c.ID = ContestID(packed(string(c.ID)))
		first := len(all)
		for _, s := range c.Selections {
			s.ID = SelectionID(packed(string(s.ID)))
			all = append(all, s)
		}
		c.Selections = all[first:len(all):len(all)]
	}
}

// layout lays the contests out in the given order, ballots first.
func (e *Election) layout(contests []ContestID) *Layout {
	l := &Layout{Sections: make([]Section, 0, len(contests)+1)}
	ballots := Section{Contest: BallotsIndex}
	if e.Definition.Rules.Ballots {
		ballots.Selections = 1
	}
	l.add(ballots, e.Types())
	for _, id := range contests {
		i := e.contests[id]
		c := &e.Definition.Contests[i]
		l.add(Section{Contest: i, Selections: int32(len(c.Selections)), Residuals: c.Residuals != ResidualsNone}, e.Types())
	}
	return l
}

func (l *Layout) add(s Section, types int) {
	s.Offset = int32(l.Cells)
	l.Cells += s.Size(types)
	l.Sections = append(l.Sections, s)
}

// Find returns the index of a contest's section, or false.
func (l *Layout) Find(c ContestIndex) (int, bool) {
	// Sections are sorted by contest identifier, not index; rows are short and
	// callers are not hot.
	for i := range l.Sections {
		if l.Sections[i].Contest == c {
			return i, true
		}
	}
	return 0, false
}

// place lays out a county's row and the placements of its units.
func (e *Election) place(c CountyIndex, styles map[StyleID]*Layout) {
	county := &e.Counties[c]
	unitsOf := map[ContestIndex]int32{}
	seen := map[StyleID]*Placement{}
	for _, u := range county.Units {
		style := e.Definition.Units[u].Style
		if seen[style] == nil {
			seen[style] = &Placement{Style: styles[style]}
		}
		e.Units[u].Placement = seen[style]
		for i := range styles[style].Sections {
			unitsOf[styles[style].Sections[i].Contest]++
		}
	}
	ids := make([]ContestID, 0, len(unitsOf))
	for i := range unitsOf {
		if i != BallotsIndex {
			ids = append(ids, e.Definition.Contests[i].ID)
		}
	}
	slices.Sort(ids)
	county.Layout = *e.layout(ids)
	where := make(map[ContestIndex]int32, len(county.Sections))
	for i := range county.Sections {
		s := &county.Sections[i]
		s.Units = unitsOf[s.Contest]
		where[s.Contest] = int32(i)
	}
	for _, p := range seen {
		p.Offsets = make([]int32, len(p.Style.Sections))
		p.CountySections = make([]int32, len(p.Style.Sections))
		for i := range p.Style.Sections {
			at := where[p.Style.Sections[i].Contest]
			p.CountySections[i] = at
			p.Offsets[i] = county.Sections[at].Offset
		}
	}
}

// Validate returns the first broken rule of the definition.
func (d *Definition) Validate() error {
	if d.Schema != DefinitionSchema {
		return fmt.Errorf("definition: schema is %q, want %q", d.Schema, DefinitionSchema)
	}
	for _, rule := range []func() error{d.validateHead, d.validatePlaces, d.validateContests, d.validateStyles, d.validateUnits, d.validateSuppression} {
		if err := rule(); err != nil {
			return fmt.Errorf("definition: %w", err)
		}
	}
	return nil
}
