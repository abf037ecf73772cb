package openelections

import (
	"cmp"
	"slices"
	"strings"

	"tallystream/schemas"
)

// contest is one contest of the election, joined from those of its counties.
type contest struct {
	office
	group    string // of all counties' contests of this title
	counties []int32
	labels   []*spelling // in the order of appearance
	of       map[int32]*spelling

	id         schemas.ContestID
	name       string
	kind       schemas.ContestKind
	allowed    int
	residuals  schemas.Residuals
	selections []selection
	units      map[int32][]*spelling // the labels that each unit states
}

// spelling is a label within a contest.
type spelling struct {
	label
	at       int32 // index into table.labels
	name     string
	counties []int32
	votes    uint64
	parent   *spelling // union-find: the spelling it is merged into
	class    []*spelling
	// selection is the index of the class's selection; a residual's is
	// that of the cells it goes to.
	selection int
}

// root is the spelling that stands for s.
func (s *spelling) root() *spelling {
	for s.parent != nil {
		s = s.parent
	}
	return s
}

// selection is one selection of a contest.
type selection struct {
	id       schemas.SelectionID
	name     string
	party    string
	answer   string
	writeIn  bool
	residual residual
	labels   []*spelling
}

// residual says whether a selection is one.
type residual uint8

const (
	notResidual residual = iota
	overvote
	undervote
)

// countyContest is a title within a county: what the input calls a contest.
type countyContest struct{ county, title int32 }

// contests sorts the rows of t into contests.
type contests struct {
	t    *table
	list []*contest
	of   map[countyContest]*contest
}

// findContests joins the counties' contests into the election's.
func findContests(t *table) *contests {
	c := &contests{t: t, of: map[countyContest]*contest{}}
	groups := map[string][]*contest{}
	var order []string
	for i := range t.rows {
		r := &t.rows[i]
		if r.role == ballotsRow || r.role == registeredRow {
			continue
		}
		at := countyContest{t.units[r.unit].county, r.title}
		if c.of[at] == nil {
			o := officeOf(t.titles[r.title])
			g := o.group(t.counties[at.county].state)
			// A county that spells one office in two ways has two contests.
			c.of[at] = &contest{office: o, group: g, counties: []int32{at.county}, of: map[int32]*spelling{}, units: map[int32][]*spelling{}}
			if groups[g] == nil {
				order = append(order, g)
			}
			groups[g] = append(groups[g], c.of[at])
		}
		c.of[at].state(t, r)
	}
	joined := map[*contest]*contest{}
	for _, g := range order {
		c.list = append(c.list, c.join(groups[g], joined)...)
	}
	for at, x := range c.of {
		if joined[x] != nil {
			c.of[at] = joined[x]
		}
	}
	return c
}

// state adds a row's label to the contest.
func (c *contest) state(t *table, r *row) {
	s := c.of[r.label]
	if s == nil {
		l := t.labels[r.label]
		s = &spelling{label: l, at: r.label, name: cleanName(l), counties: slices.Clone(c.counties)}
		c.of[r.label] = s
		c.labels = append(c.labels, s)
	}
	s.votes += uint64(r.votes)
	c.units[r.unit] = append(c.units[r.unit], s)
}

// cleanName is a label's name without what is not the name.
func cleanName(l label) string {
	name := collapse(withoutParty(l.name, l.party))
	if name == "" {
		name = cmp.Or(l.party, "Unnamed")
	}
	return name
}

// join makes one contest of those that are one, of a group with one title.
func (c *contests) join(group []*contest, joined map[*contest]*contest) []*contest {
	var out []*contest
	for _, x := range group {
		var into *contest
		for _, y := range out {
			if c.same(y, x) {
				into = y
				break
			}
		}
		if into == nil {
			out = append(out, x)
			continue
		}
		into.absorb(x)
		joined[x] = into
	}
	for _, x := range out {
		if !x.wide && len(x.counties) > 1 {
			c.t.add(Joined, "", 0, "%s: %s have the same candidates or are both in the title, so it is one contest", x.contestName(), c.countyNames(x.counties))
		}
	}
	return out
}

// same reports whether x, of one county, is the contest y.
func (c *contests) same(y, x *contest) bool {
	if slices.Contains(y.counties, x.counties[0]) {
		return false
	}
	if y.wide {
		return true
	}
	if c.namesCounties(y, x) {
		return true
	}
	a, b := y.candidates(), x.candidates()
	both := 0
	for name := range b {
		if a[name] {
			both++
		}
	}
	// More than half of all: some sources put every town's mayor into one
	// "Mayor" of a county, and a town on the county line joins nothing.
	return 2*both > len(a)+len(b)-both
}

// namesCounties reports whether the title itself names the counties of both.
func (c *contests) namesCounties(y, x *contest) bool {
	title := key(x.office.name)
	for _, i := range append(slices.Clone(y.counties), x.counties...) {
		if !strings.Contains(title, key(c.t.counties[i].name)) {
			return false
		}
	}
	return true
}

// candidates are the keys of the leading names of who can tell contests apart.
func (c *contest) candidates() map[string]bool {
	m := map[string]bool{}
	for _, s := range c.labels {
		if answer(s.name) == "" && !writeIn(s.name) && residualOf(s.label) == notResidual && !straightTicket(s) {
			m[key(leading(s.name))] = true
		}
	}
	return m
}

// straightTicket: parties are the same everywhere and tell nothing. Straight
// tickets stay with their county: it is a device of the ballot, and counties
// that number two of them do not mean the same.
func straightTicket(s *spelling) bool {
	switch k := key(s.name); k {
	case "democratic", "republican", "libertarian", "green", "constitution", "independent", "alliance", "workers", "unitedcitizens", "reform":
		return true
	default:
		return strings.HasSuffix(k, "party")
	}
}

func residualOf(l label) residual {
	r, _ := roleOf("-", l.name)
	switch r {
	case overvotesRow:
		return overvote
	case undervotesRow:
		return undervote
	}
	return notResidual
}

// absorb takes another county's contest into c.
func (c *contest) absorb(x *contest) {
	c.counties = append(c.counties, x.counties...)
	for _, s := range x.labels {
		mine := c.of[s.at]
		if mine == nil {
			mine = &spelling{label: s.label, at: s.at, name: s.name}
			c.of[s.at] = mine
			c.labels = append(c.labels, mine)
		}
		mine.counties = append(mine.counties, s.counties...)
		mine.votes += s.votes
	}
	for u, list := range x.units {
		for _, s := range list {
			c.units[u] = append(c.units[u], c.of[s.at])
		}
	}
}

// countyNames lists counties for people.
func (c *contests) countyNames(counties []int32) string {
	names := make([]string, len(counties))
	for i, x := range counties {
		names[i] = c.t.counties[x].name
	}
	slices.Sort(names)
	if len(names) > 8 {
		names = append(names[:8], "...")
	}
	return strings.Join(names, ", ")
}

// identify gives contests their order, identifiers and names.
func (c *contests) identify(states int) {
	slices.SortStableFunc(c.list, func(a, b *contest) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), c.compareLocal(a, b), compareNatural(a.office.id, b.office.id))
	})
	alone := map[string]int{} // contests of several counties, by group
	for _, x := range c.list {
		if len(x.counties) > 1 {
			alone[x.group]++
		}
	}
	names := namer{string(schemas.BallotsCast): 1}
	for _, x := range c.list {
		id, name := x.office.id, x.contestName()
		first := c.t.counties[x.counties[0]]
		switch {
		case x.wide && states > 1 && x.rank != presidentRank:
			s := stateOf(first.state)
			id, name = s.id+"-"+id, s.name+": "+name
		case x.wide:
		case len(x.counties) == 1 || alone[x.group] > 1:
			id, name = identifier(first.name, "county", longestCounty)+"-"+id, first.name+": "+name
		}
		x.id, x.name = schemas.ContestID(names.take(identifier(id, "contest", longestID))), name
	}
}

// compareLocal orders local contests by county first.
func (c *contests) compareLocal(a, b *contest) int {
	if a.rank != localRank || b.rank != localRank {
		return 0
	}
	one := func(x *contest) string {
		if len(x.counties) > 1 {
			return "" // contests of several counties before those of one
		}
		return c.t.counties[x.counties[0]].name
	}
	return strings.Compare(one(a), one(b))
}

// compareNatural compares texts with the numbers in them as numbers.
func compareNatural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			p, q := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if d := cmp.Or(cmp.Compare(len(p), len(q)), strings.Compare(p, q)); d != 0 {
				return d
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
