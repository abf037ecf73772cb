package openelections

import (
	"fmt"
	"slices"
	"strings"

	"tallystream/schemas"
)

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
