package timeseries

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"

	"tallystream/schemas"
)

// The occasion: what the series does not say of itself.
const (
	occasionElection = "mi-2020-timeseries"
	occasionName     = "Michigan 2020, President, by precinct as reported (rehearsal on published results)"
	occasionDate     = "2020-11-03"
	occasionOrigin   = "rehearsal.example/" + occasionElection
	contestID        = "president"
	stateID          = "mi"
	partitions       = 8
	styleID          = "all"
)

// candidates are the selections that the source names by their last part.
var candidates = map[string]schemas.Selection{
	"biden":     {Name: "Joseph R. Biden", Party: "Democratic"},
	"trump":     {Name: "Donald J. Trump", Party: "Republican"},
	"jorgensen": {Name: "Jo Jorgensen", Party: "Libertarian"},
	"other":     {Name: "Other candidates"},
}

// ballot makes the definition of what the rows name.
type ballot struct {
	t          *table
	definition schemas.Definition
	places     []Place
	countyOf   map[string]schemas.CountyID     // by FIPS code
	unitOf     map[[2]string]schemas.UnitIndex // by label and precinct
}

// newBallot makes one county of all rows with one FIPS code, whatever the
// source calls it: a city that the source reports beside its county lies in that
// county, where the rules can see both.
func newBallot(t *table, o Options) (*ballot, error) {
	b := &ballot{t: t, countyOf: map[string]schemas.CountyID{}, unitOf: map[[2]string]schemas.UnitIndex{}}
	b.head(o)
	fipsOf, err := t.counties()
	if err != nil {
		return nil, err
	}
	b.counties(fipsOf)
	return b, b.units(fipsOf)
}

func (b *ballot) head(o Options) {
	d := &b.definition
	d.Schema, d.Election, d.Name, d.Date, d.Origin = schemas.DefinitionSchema, occasionElection, occasionName, occasionDate, occasionOrigin
	d.CountTypes, d.Partitions, d.Signatures = countTypes, partitions, 1
	if o.Twins > 0 {
		d.Rules.Outliers = &schemas.OutlierRules{Twins: &schemas.TwinRule{Least: o.Twins}}
	}
	d.States = []schemas.State{{ID: stateID, Name: "Michigan"}}
	president := schemas.Contest{ID: contestID, Name: "President", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone}
	for _, s := range b.t.selections {
		selection := candidates[s]
		selection.ID, selection.Name = schemas.SelectionID(s), cmp.Or(selection.Name, title(s))
		president.Selections = append(president.Selections, selection)
	}
	d.Contests = []schemas.Contest{president}
	d.Styles = []schemas.Style{{ID: styleID, Contests: []schemas.ContestID{contestID}}}
}

// counties finds the FIPS code of every label. Rows may leave it out where
// others of the label have it.
func (t *table) counties() (map[string]string, error) {
	out := map[string]string{}
	for i := range t.changes {
		c := &t.changes[i]
		if known := out[c.label]; c.fips != "" && known != "" && known != c.fips {
			return nil, t.wrong(c.line, "county %q has FIPS %q and %q", c.label, known, c.fips)
		}
		out[c.label] = cmp.Or(out[c.label], c.fips)
	}
	for i := range t.changes {
		if c := &t.changes[i]; out[c.label] == "" {
			return nil, t.wrong(c.line, "no row of county %q has a FIPS code", c.label)
		}
	}
	return out, nil
}

// counties adds a county for each FIPS code, under the label that is no city's.
func (b *ballot) counties(fipsOf map[string]string) {
	name := map[string]string{}
	for label, fips := range fipsOf {
		if old := name[fips]; old == "" || isCity(old) && !isCity(label) || isCity(old) == isCity(label) && label < old {
			name[fips] = label
		}
	}
	for _, fips := range slices.Sorted(maps.Keys(name)) {
		b.countyOf[fips] = countyID(name[fips])
		b.definition.Counties = append(b.definition.Counties, schemas.County{ID: b.countyOf[fips], Name: title(name[fips]), State: stateID})
	}
}

func isCity(label string) bool { return strings.HasPrefix(label, "city-of-") }

// units adds every precinct of every label as a unit of its own, in the order of
// counties, labels and names.
func (b *ballot) units(fipsOf map[string]string) error {
	type origin struct {
		fips, label, precinct string
		line                  int // where it comes first
	}
	var all []origin
	seen := map[[2]string]bool{}
	for i := range b.t.changes {
		c := &b.t.changes[i]
		if k := [2]string{c.label, c.precinct}; !seen[k] {
			seen[k] = true
			all = append(all, origin{fipsOf[c.label], c.label, c.precinct, c.line})
		}
	}
	first := map[[2]string]origin{} // by FIPS code and precinct
	for _, x := range all {         // in the order of lines
		if k := [2]string{x.fips, x.precinct}; first[k].label == "" {
			first[k] = x
		}
	}
	slices.SortFunc(all, func(x, y origin) int {
		return cmp.Or(strings.Compare(x.fips, y.fips), strings.Compare(x.label, y.label), strings.Compare(x.precinct, y.precinct))
	})
	taken := map[schemas.UnitID]bool{}
	for i, x := range all {
		u := schemas.Unit{ID: unitID(x.label, x.precinct), Name: title(x.precinct), County: b.countyOf[x.fips], Kind: schemas.PrecinctUnit, Style: styleID}
		if !schemas.ValidIdentifier(string(u.ID)) || taken[u.ID] {
			return b.t.wrong(x.line, "precinct %.40q of %q makes the identifier %.120q, which is none, or another's", x.precinct, x.label, u.ID)
		}
		taken[u.ID] = true
		if countyID(x.label) != u.County {
			u.Name += " (" + title(x.label) + ")"
		}
		b.definition.Units = append(b.definition.Units, u)
		b.unitOf[[2]string{x.label, x.precinct}] = schemas.UnitIndex(i)
	}
	for _, x := range all {
		of := first[[2]string{x.fips, x.precinct}]
		b.places = append(b.places, Place{Label: x.label, Precinct: x.precinct, CopyOf: b.unitOf[[2]string{of.label, of.precinct}]})
	}
	return nil
}

func countyID(label string) schemas.CountyID { return schemas.CountyID(plain(label)) }

func unitID(label, precinct string) schemas.UnitID {
	return schemas.UnitID(plain(label) + "." + plain(precinct))
}

// plain leaves out what identifiers cannot have.
func plain(s string) string { return strings.ReplaceAll(s, ",", "") }

// title is an identifier as people write it.
func title(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == ' ' })
	for i, w := range words {
		letters := []rune(w)
		letters[0] = unicode.ToUpper(letters[0])
		words[i] = string(letters)
	}
	return strings.Join(words, " ")
}
