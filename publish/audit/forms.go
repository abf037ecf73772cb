package audit

import (
	"slices"

	"tallystream/schemas"
)

// ballots stands for the reserved contest schemas.BallotsCast.
const ballots = -1

// section is where a form has a contest: one cell that counts reports, one for
// each selection and count type, and where residuals are known one for each
// count type of undervotes, then of overvotes.
type section struct {
	contest    int // in the definition; ballots
	at         int
	selections int
	residuals  bool
	units      int64 // of a county: that vote on it
}

// form is an order of cells: of a ballot style or of a county.
type form struct {
	sections []section
	cells    int
	index    map[int]int // sections by contest
}

// unitForm is what the count knows of a unit.
type unitForm struct {
	id         schemas.UnitID
	county     int
	registered int
	history    int
	style      *form
	to         []int // where its county has each section of the style

	administrative bool // no precinct
}

// countyForm is what the count knows of a county.
type countyForm struct {
	id        schemas.CountyID
	state     string
	partition schemas.Partition
	units     []int
	*form
}

// forms are the audit's own reading of the definition. Indexes follow the
// definition's order. Immutable.
type forms struct {
	*schemas.Definition
	units      []unitForm
	counties   []countyForm
	contests   map[string]int
	selections []map[string]int // by contest
	types      map[string]int
	counts     int // count types
	unitIndex  map[string]int
	countyOf   map[string]int
	peopled    map[string]int // counties with units, by state
}

func newForms(d *schemas.Definition) *forms {
	f := &forms{
		Definition: d, contests: map[string]int{string(schemas.BallotsCast): ballots}, types: map[string]int{}, counts: len(d.CountTypes),
		unitIndex: make(map[string]int, len(d.Units)), countyOf: make(map[string]int, len(d.Counties)),
		selections: make([]map[string]int, len(d.Contests)), peopled: map[string]int{},
	}
	for i, t := range d.CountTypes {
		f.types[string(t)] = i
	}
	for i := range d.Contests {
		f.contests[string(d.Contests[i].ID)] = i
		f.selections[i] = map[string]int{}
		for k := range d.Contests[i].Selections {
			f.selections[i][string(d.Contests[i].Selections[k].ID)] = k
		}
	}
	styles := map[schemas.StyleID]*form{}
	for i := range d.Styles {
		styles[d.Styles[i].ID] = f.styleForm(&d.Styles[i])
	}
	f.place(styles)
	return f
}

func (f *forms) styleForm(s *schemas.Style) *form {
	out := f.blank()
	for _, id := range s.Contests {
		f.add(out, f.contests[string(id)])
	}
	return out
}

// blank is a form with ballots alone.
func (f *forms) blank() *form {
	out := &form{index: map[int]int{}}
	f.add(out, ballots)
	return out
}

func (f *forms) add(to *form, contest int) {
	s := section{contest: contest, at: to.cells}
	switch {
	case contest != ballots:
		s.selections = len(f.Contests[contest].Selections)
		s.residuals = f.Contests[contest].Residuals != schemas.ResidualsNone
	case f.Rules.Ballots:
		s.selections = 1
	}
	to.index[contest] = len(to.sections)
	to.sections = append(to.sections, s)
	to.cells += f.size(&s)
}

// size is the number of cells of a section.
func (f *forms) size(s *section) int {
	rows := s.selections
	if s.residuals {
		rows += 2
	}
	return 1 + rows*f.counts
}

// place puts units into counties; a county's form has the contests of all of
// its units, in the definition's order.
func (f *forms) place(styles map[schemas.StyleID]*form) {
	f.counties = make([]countyForm, len(f.Counties))
	for i := range f.Counties {
		c := &f.Counties[i]
		f.countyOf[string(c.ID)] = i
		f.counties[i] = countyForm{id: c.ID, state: string(c.State), partition: schemas.Partition(i % f.Partitions)}
	}
	f.units = make([]unitForm, len(f.Units))
	for i := range f.Units {
		u := &f.Units[i]
		county := f.countyOf[string(u.County)]
		f.unitIndex[string(u.ID)] = i
		f.units[i] = unitForm{id: u.ID, county: county, registered: u.Registered, history: u.History, style: styles[u.Style],
			administrative: u.Kind == schemas.AdministrativeUnit}
		f.counties[county].units = append(f.counties[county].units, i)
	}
	for i := range f.counties {
		f.placeCounty(&f.counties[i])
		if len(f.counties[i].units) > 0 {
			f.peopled[f.counties[i].state]++
		}
	}
}

func (f *forms) placeCounty(c *countyForm) {
	voters := map[int]int64{}
	for _, u := range c.units {
		for _, s := range f.units[u].style.sections {
			voters[s.contest]++
		}
	}
	c.form = f.blank()
	var contests []int
	for k := range voters {
		if k != ballots {
			contests = append(contests, k)
		}
	}
	slices.Sort(contests)
	for _, k := range contests {
		f.add(c.form, k)
	}
	for i := range c.sections {
		c.sections[i].units = voters[c.sections[i].contest]
	}
	placed := map[*form][]int{} // units of one style share it
	for _, u := range c.units {
		style := f.units[u].style
		if placed[style] == nil {
			for _, s := range style.sections {
				placed[style] = append(placed[style], c.sections[c.index[s.contest]].at)
			}
		}
		f.units[u].to = placed[style]
	}
}

func (f *forms) contestID(contest int) schemas.ContestID {
	if contest == ballots {
		return schemas.BallotsCast
	}
	return f.Contests[contest].ID
}

// Words for cells that are no selection's.
const (
	cellReporting = "(units reporting)"
	cellUnits     = "(units)"
	// cellCorrections is the number of movements in a line.
	cellCorrections = "(corrections)"
)

// cellName says which number cell k of a section is.
func (f *forms) cellName(s *section, k int) (schemas.SelectionID, schemas.CountType) {
	if k == 0 {
		return cellReporting, ""
	}
	row, t := (k-1)/f.counts, f.CountTypes[(k-1)%f.counts]
	switch {
	case s.contest == ballots:
		return schemas.Ballots, t
	case row < s.selections:
		return f.Contests[s.contest].Selections[row].ID, t
	case row == s.selections:
		return schemas.Undervotes, t
	}
	return schemas.Overvotes, t
}

// row is which of a section's rows a selection has; false where it has none.
func (f *forms) row(s *section, selection string) (int, bool) {
	switch {
	case s.contest == ballots:
		return 0, s.selections == 1 && selection == string(schemas.Ballots)
	case s.residuals && selection == string(schemas.Undervotes):
		return s.selections, true
	case s.residuals && selection == string(schemas.Overvotes):
		return s.selections + 1, true
	}
	k, ok := f.selections[s.contest][selection]
	return k, ok
}
