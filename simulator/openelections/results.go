package openelections

import (
	"encoding/json"
	"errors"
	"fmt"

	"tallystream/schemas"
	"tallystream/simulator/elections"
)

// Results are imported results: an election and its truth.
type Results struct {
	definition     []byte
	election       *schemas.Election
	cells          []schemas.Count // rows of all units, one after another
	start          []int           // of each unit's row
	sums           map[SumKey]int64
	warnings       []Warning
	rows           int
	countyContests int
}

var _ elections.Truth = (*Results)(nil)

// SumKey names a sum over the units of a county.
type SumKey struct {
	County    schemas.CountyID
	Contest   schemas.ContestID
	Selection schemas.SelectionID
	CountType schemas.CountType
}

// Definition implements elections.Truth.
func (r *Results) Definition() []byte { return r.definition }

// Election implements elections.Truth.
func (r *Results) Election() *schemas.Election { return r.election }

// Cells implements elections.Truth.
func (r *Results) Cells(u schemas.UnitIndex, dst []schemas.Count) []schemas.Count {
	row := r.cells[r.start[u]:][:r.election.Units[u].Style.Cells]
	return append(dst[:0], row...)
}

// Warnings lists what was handled and people should know of.
func (r *Results) Warnings() []Warning { return r.warnings }

// Rows is the number of rows that count.
func (r *Results) Rows() int { return r.rows }

// CountyContests is the number of contests as the input has them: of a county,
// an office and a district.
func (r *Results) CountyContests() int { return r.countyContests }

// Contests is the number of contests of the election, those of several
// counties counted once.
func (r *Results) Contests() int { return len(r.election.Definition.Contests) }

// Sums are the sums of the input's own rows, by the names that the definition
// gives them. They are added up from the rows themselves, not from Cells: what
// is published can be held against them. Zero sums are listed too.
func (r *Results) Sums() map[SumKey]int64 { return r.sums }

// Import reads results and makes an election of them.
func Import(sources []Source, o Options) (*Results, error) {
	t, err := read(sources)
	if err != nil {
		return nil, err
	}
	if len(t.rows) == 0 {
		return nil, errors.New("reading results: no row with results in any source")
	}
	b := &build{t: t}
	if b.occasion, err = occasionOf(t, o); err != nil {
		return nil, fmt.Errorf("importing results: %w", err)
	}
	b.occasion.settle(t)
	b.contests = findContests(t)
	b.contests.identify(len(b.occasion.states))
	for _, x := range b.contests.list {
		b.contests.merge(x)
	}
	b.findTypes()
	b.counts = make([]int64, len(b.types))
	b.findAdministrative()
	b.findRules()
	b.findResiduals()
	r, err := b.results(o)
	if err != nil {
		return nil, fmt.Errorf("importing results: %w", err)
	}
	return r, nil
}

// build is an import in progress.
type build struct {
	t        *table
	occasion occasion
	contests *contests

	types  []schemas.CountType
	typeAt map[schemas.CountType]int
	counts []int64 // scratch of addCounts

	rules          schemas.Rules
	administrative []bool    // by unit
	ballots        [][]int64 // by unit and count type; nil: not known
	registered     []int64   // by unit; -1: not known

	definition schemas.Definition
	counties   []schemas.CountyID // by county
	units      []schemas.UnitID   // by unit
	order      []int32            // units in the definition's order
}

func (b *build) findAdministrative() {
	b.administrative = make([]bool, len(b.t.units))
	for i, u := range b.t.units {
		b.administrative[i] = administrative(u.name)
	}
}

func (b *build) results(o Options) (*Results, error) {
	b.head(o)
	b.places()
	b.ballotStyles()
	r := &Results{rows: len(b.t.rows), countyContests: len(b.contests.of), sums: map[SumKey]int64{}}
	var err error
	if r.definition, err = json.Marshal(&b.definition); err != nil {
		return nil, err
	}
	if r.election, err = schemas.OpenElection(r.definition); err != nil {
		return nil, err
	}
	if err := b.fill(r); err != nil {
		return nil, err
	}
	r.warnings = b.t.list
	return r, b.checkBodies(r)
}

// fill adds every row to its cells and, apart from that, to its sums.
func (b *build) fill(r *Results) error {
	e := r.election
	total := 0
	r.start = make([]int, len(e.Units))
	for u := range e.Units {
		r.start[u] = total
		total += e.Units[u].Style.Cells
	}
	r.cells = make([]schemas.Count, total)
	for u := range e.Units {
		row := r.cells[r.start[u]:]
		for _, s := range e.Units[u].Style.Sections {
			row[s.Offset] = 1
		}
	}
	unitAt := make([]schemas.UnitIndex, len(b.order))
	for at, i := range b.order {
		unitAt[i] = schemas.UnitIndex(at)
	}
	sections := map[place]int{}
	for i := range b.t.rows {
		row := &b.t.rows[i]
		at, names, ok := b.where(r, row, unitAt[row.unit], sections)
		if !ok {
			continue
		}
		b.spread(row, b.counts)
		for t, n := range b.counts {
			cell := &r.cells[at+t]
			if int64(*cell)+n > int64(schemas.MaxCount) {
				return &SyntaxError{b.t.files[row.file].name, int(row.line), 0, fmt.Sprintf("with this row a count of unit %s is above %d", b.units[row.unit], schemas.MaxCount)}
			}
			*cell += schemas.Count(n)
			names.CountType = b.types[t]
			r.sums[names] += n
		}
	}
	return nil
}

// where finds the first of a row's cells, and the names of its sums.
func (b *build) where(r *Results, row *row, u schemas.UnitIndex, sections map[place]int) (int, SumKey, bool) {
	names := SumKey{County: b.counties[b.t.units[row.unit].county]}
	switch row.role {
	case registeredRow:
		return 0, names, false
	case ballotsRow:
		names.Contest, names.Selection = schemas.BallotsCast, schemas.Ballots
		return r.start[u] + 1, names, b.rules.Ballots
	}
	x := b.contests.of[countyContest{b.t.units[row.unit].county, row.title}]
	s := x.of[row.label].root()
	names.Contest, names.Selection = x.id, x.selectionID(x.of[row.label])
	at, known := sections[place{x, row.unit}]
	if !known {
		c, _ := r.election.Contest(x.id)
		i, _ := r.election.Units[u].Style.Find(c)
		at = r.start[u] + int(r.election.Units[u].Style.Sections[i].Offset) + 1
		sections[place{x, row.unit}] = at
	}
	return at + s.selection*len(b.types), names, true
}

// selectionID is where a spelling's votes stand in exports.
func (x *contest) selectionID(s *spelling) schemas.SelectionID {
	for i := range x.selections {
		sel := &x.selections[i]
		if sel.labels[0] != s.root() {
			continue
		}
		switch {
		case x.residuals == schemas.ResidualsNone || sel.residual == notResidual:
			return sel.id
		case sel.residual == undervote:
			return schemas.Undervotes
		}
		return schemas.Overvotes
	}
	return ""
}

// checkBodies makes sure that every unit's whole statement can be sent, and
// would count: limits of submissions are no limits of the input.
func (b *build) checkBodies(r *Results) error {
	var (
		body  []byte
		cells []schemas.Count
		sub   schemas.Submission
		st    schemas.Statement
	)
	for u := range r.election.Units {
		cells = r.Cells(schemas.UnitIndex(u), cells)
		body = r.election.AppendBody(body[:0], schemas.UnitIndex(u), schemas.MaxRevision, cells, nil, nil)
		if len(body)+1024 > schemas.MaxBody { // the text of a correction included
			return fmt.Errorf("unit %s: its statement has %d bytes, and a submission at most %d", r.election.Units[u].ID, len(body), schemas.MaxBody)
		}
		if err := sub.Decode(body); err != nil {
			return fmt.Errorf("unit %s: its statement would be refused: %w", r.election.Units[u].ID, err)
		}
		if err := r.election.Resolve(&sub, &st); err != nil {
			return fmt.Errorf("unit %s: its statement would be refused: %w", r.election.Units[u].ID, err)
		}
		if hold := r.election.Implausible(&st); hold != "" {
			return fmt.Errorf("unit %s: its results would be held (%s) and never count", r.election.Units[u].ID, hold)
		}
	}
	return nil
}
