package openelections

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// head fills the definition's first part and its contests.
func (b *build) head(o Options) {
	d := &b.definition
	s := b.occasion.states[0]
	d.Schema, d.Date, d.CountTypes, d.Signatures, d.Rules = schemas.DefinitionSchema, b.occasion.date, b.types, 1, b.rules
	year, _, _ := strings.Cut(d.Date, "-")
	id, name := s.id, s.name
	if len(b.occasion.states) > 1 {
		id, name = "us", "United States"
	}
	d.Election, d.Name, d.Origin, d.Partitions = o.Election, o.Name, o.Origin, o.Partitions
	if d.Election == "" {
		d.Election = schemas.ElectionID(id + "-" + year)
	}
	if d.Name == "" {
		d.Name = name + " " + year + " (rehearsal on published results)"
	}
	if d.Origin == "" {
		d.Origin = "rehearsal.example/" + string(d.Election)
	}
	if d.Partitions == 0 {
		d.Partitions = min(8, len(b.t.counties))
	}
	for _, s := range b.occasion.states {
		d.States = append(d.States, schemas.State{ID: schemas.CountyID(s.id), Name: s.name})
	}
	for _, x := range b.contests.list {
		d.Contests = append(d.Contests, x.define())
	}
}

// define settles which cells each spelling goes to.
func (x *contest) define() schemas.Contest {
	c := schemas.Contest{ID: x.id, Name: x.name, Kind: x.kind, VotesAllowed: x.allowed, Residuals: x.residuals}
	count := len(x.selections)
	if x.residuals != schemas.ResidualsNone {
		for i := range x.selections {
			if x.selections[i].residual != notResidual {
				count--
			}
		}
	}
	for i := range x.selections {
		sel := &x.selections[i]
		at := len(c.Selections)
		switch {
		case x.residuals != schemas.ResidualsNone && sel.residual == undervote:
			at = count
		case x.residuals != schemas.ResidualsNone && sel.residual == overvote:
			at = count + 1
		default:
			c.Selections = append(c.Selections, schemas.Selection{ID: sel.id, Name: sel.name, Party: sel.party, WriteIn: sel.writeIn})
		}
		for _, s := range sel.labels {
			s.selection = at
		}
	}
	return c
}

// places adds counties and units, counties by name, units as the input has
// them.
func (b *build) places() {
	d := &b.definition
	several := len(b.occasion.states) > 1
	b.counties, b.units = make([]schemas.CountyID, len(b.t.counties)), make([]schemas.UnitID, len(b.t.units))
	taken := namer{string(d.Election): 1}
	for _, s := range d.States {
		taken[string(s.ID)]++
	}
	byName := make([]int32, len(b.t.counties))
	for i := range byName {
		byName[i] = int32(i)
	}
	slices.SortStableFunc(byName, func(x, y int32) int {
		p, q := b.t.counties[x], b.t.counties[y]
		return strings.Compare(p.state+"\n"+p.name, q.state+"\n"+q.name)
	})
	rank := make([]int, len(byName))
	for at, i := range byName {
		c := b.t.counties[i]
		s := stateOf(c.state)
		id := identifier(c.name, "county", longestCounty-3)
		if several {
			id = s.id + "-" + id
		}
		b.counties[i], rank[i] = schemas.CountyID(taken.take(id)), at
		d.Counties = append(d.Counties, schemas.County{ID: b.counties[i], Name: c.name, State: schemas.CountyID(s.id)})
	}
	b.order = make([]int32, len(b.t.units))
	for i := range b.order {
		b.order[i] = int32(i)
	}
	slices.SortStableFunc(b.order, func(x, y int32) int { return rank[b.t.units[x].county] - rank[b.t.units[y].county] })
	names := namer{}
	for _, i := range b.order {
		u := b.t.units[i]
		plain := string(b.counties[u.county]) + "." + identifier(u.name, "unit", longestPart)
		id := names.take(plain)
		if id != plain {
			b.t.add(Unit, "", 0, "%s, precinct %q: another precinct has the identifier %s; this one is %s", b.t.counties[u.county].name, u.name, plain, id)
		}
		b.units[i] = schemas.UnitID(id)
	}
}

// ballotStyles adds styles and units. Units with the same contests share one.
func (b *build) ballotStyles() {
	d := &b.definition
	onBallot := make([][]schemas.ContestID, len(b.t.units))
	for _, x := range b.contests.list {
		for u := range x.units {
			onBallot[u] = append(onBallot[u], x.id)
		}
	}
	styles := map[string]schemas.StyleID{}
	for _, i := range b.order {
		slices.Sort(onBallot[i])
		k := fmt.Sprint(onBallot[i])
		if styles[k] == "" {
			styles[k] = schemas.StyleID(fmt.Sprintf("style-%d", len(styles)+1))
			contests := onBallot[i]
			if contests == nil {
				contests = []schemas.ContestID{}
			}
			d.Styles = append(d.Styles, schemas.Style{ID: styles[k], Contests: contests})
		}
		u := schemas.Unit{ID: b.units[i], Name: b.t.units[i].name, County: b.counties[b.t.units[i].county], Kind: schemas.PrecinctUnit, Style: styles[k]}
		if b.administrative[i] {
			u.Kind = schemas.AdministrativeUnit
		} else if b.rules.Registered {
			u.Registered = int(min(b.registered[i], int64(schemas.MaxCount)))
		}
		d.Units = append(d.Units, u)
	}
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
