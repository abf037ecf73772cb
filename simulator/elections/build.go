package elections

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tallystream/schemas"
)

// builder makes a definition and, beside each contest and county, what the
// votes are drawn from.
type builder struct {
	seed       uint64
	definition schemas.Definition
	shapes     []shape
	counties   []countyShape
	states     []*stateBuild
}

// stateBuild is a state being built.
type stateBuild struct {
	stateProfile
	units  int
	first  int // county index
	lean   float64
	wide   []schemas.ContestID // on every ballot of the state
	house  []schemas.ContestID // by district
	upper  []schemas.ContestID
	lower  []schemas.ContestID
	blocks []*countyBuild
}

// countyBuild is a county being built.
type countyBuild struct {
	index  int
	units  int
	before int                 // units of the state in counties before it
	local  []schemas.ContestID // on every ballot of the county
	styles []schemas.StyleID
}

// What the draws are for: a stream of random numbers of its own each, so that
// a change in one leaves the others alone.
const (
	drawCounties uint64 = iota + 1
	drawContests
	drawUnits
	drawVotes
	drawLocal
)

// build lays out places first, then contests from the top of the ballot down:
// their order in the definition is the order of display.
func (b *builder) build(profiles []stateProfile, units []int) {
	for i := range profiles {
		b.places(&profiles[i], units[i])
	}
	b.federal()
	for _, s := range b.states {
		b.statewide(s)
	}
	for _, s := range b.states {
		b.legislature(s)
	}
	for _, s := range b.states {
		b.measures(s)
	}
	for _, s := range b.states {
		for _, c := range s.blocks {
			b.county(s, c)
			b.units(s, c)
		}
	}
}

// places adds a state and its counties.
func (b *builder) places(p *stateProfile, units int) {
	d := DrawOf(b.seed, drawCounties, hashText(p.id))
	s := &stateBuild{stateProfile: *p, units: units, first: len(b.definition.Counties), lean: float64(p.lean) / 100}
	b.states = append(b.states, s)
	b.definition.States = append(b.definition.States, schemas.State{ID: schemas.CountyID(p.id), Name: p.name})
	names := countyNames(&d, p.counties)
	if p.counties == 1 {
		names[0] = "Madison"
		if p.id == "dc" {
			names[0] = "Washington"
		}
	}
	weights := make([]float64, p.counties)
	for i := range weights {
		weights[i] = math.Exp(1.1 * d.Normal())
	}
	before := 0
	for i, n := range apportion(units, weights) {
		name := names[i] + " " + countyWord(p.id)
		if p.id == "dc" {
			name = p.name
		}
		b.definition.Counties = append(b.definition.Counties, schemas.County{
			ID: schemas.CountyID(p.id + "-" + slug(names[i])), Name: name, State: schemas.CountyID(p.id),
		})
		// Counties with many units are towns, and lean with them.
		lean := s.lean + 0.16*d.Normal() + 0.05*math.Log(float64(n)/(float64(units)/float64(p.counties)))
		b.counties = append(b.counties, newCountyShape(&d, lean))
		s.blocks = append(s.blocks, &countyBuild{index: s.first + i, units: n, before: before})
		before += n
	}
}

// county adds a county's own contests that are on all its ballots.
func (b *builder) county(s *stateBuild, c *countyBuild) {
	county := &b.definition.Counties[c.index]
	d := DrawOf(b.seed, drawLocal, uint64(c.index))
	add := func(short, name string, f form) {
		c.local = append(c.local, b.contest(&d, string(county.ID)+"-"+short, county.Name+" "+name, f))
	}
	for i, o := range localOffices {
		f := form{party: true, candidates: 2, under: 0.06 + 0.01*float64(i)}
		if d.Chance(0.45) {
			f.candidates, f.under = 1, 0.25
		}
		add(o.id, o.name, f)
	}
	add("judge", "Superior Court Judge", form{candidates: 2, under: 0.25})
	add("water", "Soil and Water District", form{candidates: 3, allowed: 2, under: 0.3})
	add("retain", "Circuit Judge: retain?", form{kind: schemas.RetentionContest, under: 0.2})
	add("measure-a", "Measure A", form{kind: schemas.BallotMeasureContest, under: 0.07})
	add("measure-b", "Measure B", form{kind: schemas.BallotMeasureContest, under: 0.09})
}

var localOffices = []struct{ id, name string }{
	{"sheriff", "Sheriff"}, {"clerk", "Clerk"}, {"treasurer", "Treasurer"}, {"assessor", "Assessor"}, {"coroner", "Coroner"},
}

// units adds a county's ballot styles and units. A style is a stretch of
// neighbouring units: its districts follow from where it lies in the state.
func (b *builder) units(s *stateBuild, c *countyBuild) {
	county := &b.definition.Counties[c.index]
	styles := min(1+c.units/40, 24, c.units)
	for i := range styles {
		middle := float64(c.before) + (float64(i)+0.5)/float64(styles)*float64(c.units)
		b.style(s, c, i, middle/float64(s.units))
	}
	// Mean registered voters of a unit, so that turnout gives the state's votes.
	mean := float64(s.voters) * 1000 / meanTurnout / float64(s.units)
	d := DrawOf(b.seed, drawUnits, uint64(c.index))
	width := len(strconv.Itoa(c.units))
	for i := range c.units {
		registered := int(mean * math.Exp(0.6*d.Normal()-0.18))
		b.definition.Units = append(b.definition.Units, schemas.Unit{
			ID:   schemas.UnitID(fmt.Sprintf("%s.%0*d", county.ID, width, i+1)),
			Name: unitName(i), County: county.ID, Kind: schemas.PrecinctUnit, Style: c.styles[i*styles/c.units],
			Registered: min(max(registered, 12), 20_000),
		})
	}
}

// style adds ballot style i of a county; at is where it lies in its state,
// from 0 to 1.
func (b *builder) style(s *stateBuild, c *countyBuild, i int, at float64) {
	county := &b.definition.Counties[c.index]
	id := schemas.StyleID(fmt.Sprintf("%s-%d", county.ID, i+1))
	d := DrawOf(b.seed, drawLocal, uint64(c.index), uint64(i))
	district := strconv.Itoa(i + 1)
	contests := slices.Concat(s.wide, c.local)
	for _, districts := range [][]schemas.ContestID{s.house, s.upper, s.lower} {
		if n := len(districts); n > 0 {
			contests = append(contests, districts[min(int(at*float64(n)), n-1)])
		}
	}
	contests = append(contests,
		b.contest(&d, string(county.ID)+"-commission-"+district, county.Name+" Commission, district "+district,
			form{party: true, candidates: 2, under: 0.1}),
		b.contest(&d, string(county.ID)+"-school-"+district, county.Name+" School Board, district "+district,
			form{candidates: 4, allowed: 3, under: 0.35}))
	slices.Sort(contests)
	b.definition.Styles = append(b.definition.Styles, schemas.Style{ID: id, Contests: contests})
	c.styles = append(c.styles, id)
}

// slug turns a name into an identifier.
func slug(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), " ", "-")
}

// hashText is FNV-1a.
func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
