package cdf

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tallystream/schemas"
)

// MaxBytes is the largest file that Import reads: three times the one of
// 180,000 units.
const MaxBytes = 256 << 20

// Options settle what a file of another program does not say. What is set here
// goes before what the file says; what neither says is an error, or the
// default.
type Options struct {
	Election   schemas.ElectionID  // default: a slug of the election's name
	Origin     string              // no default
	CountTypes []schemas.CountType // no default
	Partitions int                 // default: the number of counties, at most 8
	Signatures int                 // default: 1
	// State of counties that no state of the file composes.
	State schemas.State
	// Ballots: submissions will state ballots cast. Residuals of contests that
	// do not say theirs; default: not known.
	Ballots   bool
	Residuals schemas.Residuals
}

// Import reads a pre-election report as an election definition, which is valid.
//
// It is strict where a definition says what is counted: unknown members,
// repeated ones, nulls, missing references, units without a county or a ballot
// style are errors that name their JSON path. Members that the standard defines
// and a definition has no use for, such as contact data, are passed over
// unread. An identifier is what stands behind our prefix in an @id that we
// wrote, otherwise a slug of the @id.
func Import(r io.Reader, o Options) (*schemas.Definition, error) {
	d, _, err := read(r, o)
	return d, err
}

// read is Import, and the hash of the definition that the file was written of,
// if it says so.
func read(r io.Reader, o Options) (*schemas.Definition, string, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, "", fmt.Errorf("reading CDF: %w", err)
	}
	if len(b) > MaxBytes {
		return nil, "", fmt.Errorf("reading CDF: more than %d bytes", MaxBytes)
	}
	s, err := newScanner(b)
	if err != nil {
		return nil, "", fmt.Errorf("reading CDF: %w", err)
	}
	file, err := s.report()
	if err != nil {
		return nil, "", fmt.Errorf("reading CDF: %w", err)
	}
	d, err := define(&file, o)
	if err != nil {
		return nil, "", fmt.Errorf("reading CDF: %w", err)
	}
	if err := d.Validate(); err != nil {
		return nil, "", fmt.Errorf("reading CDF: it makes no %w", err)
	}
	of, _ := file.externals.get(extDefinition)
	return d, of, nil
}

// define makes a definition of what a file says.
func define(file *fileReport, o Options) (*schemas.Definition, error) {
	if file.status != string(PreElection) {
		return nil, &Error{"$.Status", fmt.Sprintf("is %s, want %q: a definition is what is known before the election", shown(file.status), PreElection)}
	}
	if len(file.elections) != 1 {
		return nil, &Error{"$.Election", fmt.Sprintf("has %d elections, want one", len(file.elections))}
	}
	i := &importing{file: file, election: &file.elections[0], options: o}
	for _, step := range []func() error{i.head, i.places, i.units, i.contests, i.styles, i.settings} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &i.definition, nil
}

// importing is a definition in the making.
type importing struct {
	file       *fileReport
	election   *fileElection
	options    Options
	definition schemas.Definition

	unitAt   map[string]int // file.units by @id
	counties map[string]int // definition.Counties by @id
	unitOf   map[string]int // definition.Units by @id
	inCounty [][]int        // definition.Units by county
	contest  map[string]schemas.ContestID
}

func (i *importing) head() error {
	d, e := &i.definition, i.election
	d.Schema, d.Name, d.Date = schemas.DefinitionSchema, e.name, e.date
	id, ok := e.externals.get(extElection)
	if !ok {
		id = strings.Trim(clip(slug(e.name)), ".-_")
	}
	d.Election = cmp.Or(i.options.Election, schemas.ElectionID(id))
	origin, _ := i.file.externals.get(extOrigin)
	if d.Origin = cmp.Or(i.options.Origin, origin); d.Origin == "" {
		return &Error{"$.ExternalIdentifier", fmt.Sprintf("has none of OtherType %q, and no origin was given: the URL, without its scheme, under which this election's notes are signed", extOrigin)}
	}
	if d.CountTypes = i.options.CountTypes; len(d.CountTypes) > 0 {
		return nil
	}
	for _, t := range e.types {
		c, err := countType(t.item, t.other)
		if err != nil {
			return &Error{t.path, err.Error()}
		}
		d.CountTypes = append(d.CountTypes, c)
	}
	if len(d.CountTypes) == 0 {
		return &Error{e.path + ".CountStatus", "names no count type, and none were given: submissions state their counts by type, such as early and election-day"}
	}
	return nil
}

func clip(s string) string { return s[:min(len(s), schemas.MaxIdentifier)] }

// Types of units that are places of ours.
const (
	stateType  = "state"
	countyType = "county"
)

// places finds states and counties.
func (i *importing) places() error {
	d := &i.definition
	i.unitAt = make(map[string]int, len(i.file.units))
	stateOf := map[string]schemas.CountyID{}
	for n := range i.file.units {
		u := &i.file.units[n]
		if before, ok := i.unitAt[u.id]; ok {
			return &Error{u.path, fmt.Sprintf("@id %s stands twice, first at %s", shown(u.id), i.file.units[before].path)}
		}
		i.unitAt[u.id] = n
		if u.kind != stateType {
			continue
		}
		state := schemas.State{ID: schemas.CountyID(identifier(u.id, placePrefix)), Name: u.name}
		d.States = append(d.States, state)
		for _, c := range u.composing {
			if other, ok := stateOf[c]; ok {
				return &Error{u.path + ".ComposingGpUnitIds", fmt.Sprintf("%s is in state %s too", shown(c), other)}
			}
			stateOf[c] = state.ID
		}
	}
	i.counties = map[string]int{}
	given := i.options.State
	for n := range i.file.units {
		u := &i.file.units[n]
		if u.kind != countyType {
			continue
		}
		state, ok := stateOf[u.id]
		if state = cmp.Or(state, given.ID); state == "" {
			return &Error{u.path, fmt.Sprintf("no GpUnit of Type %q composes this county, and no state was given", stateType)}
		}
		if !ok && !slices.ContainsFunc(d.States, func(s schemas.State) bool { return s.ID == state }) {
			d.States = append(d.States, given)
		}
		i.counties[u.id] = len(d.Counties)
		d.Counties = append(d.Counties, schemas.County{ID: schemas.CountyID(identifier(u.id, placePrefix)), Name: u.name, State: state})
	}
	if len(d.Counties) == 0 {
		return &Error{"$.GpUnit", fmt.Sprintf("has no unit of Type %q: a county is the parent of reporting units", countyType)}
	}
	return i.resolve(stateOf)
}

// resolve checks that what states are made of is there.
func (i *importing) resolve(stateOf map[string]schemas.CountyID) error {
	for _, id := range slices.Sorted(maps.Keys(stateOf)) {
		if _, ok := i.unitAt[id]; !ok {
			return &Error{"$.GpUnit", fmt.Sprintf("state %s is composed of %s, which is not there", stateOf[id], shown(id))}
		}
	}
	return nil
}

// units are what counties are made of. What lies below a unit, such as splits
// and devices, reports through it and is passed over.
func (i *importing) units() error {
	d := &i.definition
	i.unitOf = map[string]int{}
	i.inCounty = make([][]int, len(d.Counties))
	countyOf := map[string]int{}
	for n := range i.file.units {
		u := &i.file.units[n]
		c, ok := i.counties[u.id]
		if !ok {
			continue
		}
		for k, id := range u.composing {
			path := fmt.Sprintf("%s.ComposingGpUnitIds[%d]", u.path, k)
			if _, ok := i.unitAt[id]; !ok {
				return &Error{path, fmt.Sprintf("%s is not there", shown(id))}
			}
			if other, ok := countyOf[id]; ok {
				return &Error{path, fmt.Sprintf("%s is in county %s already", shown(id), d.Counties[other].ID)}
			}
			countyOf[id] = c
		}
	}
	d.Units = make([]schemas.Unit, 0, len(countyOf))
	for n := range i.file.units {
		u := &i.file.units[n]
		c, ok := countyOf[u.id]
		if !ok {
			continue
		}
		unit := schemas.Unit{
			ID: schemas.UnitID(identifier(u.id, unitPrefix)), Name: u.name, County: d.Counties[c].ID,
			Kind: schemas.PrecinctUnit, Registered: u.registered,
		}
		switch {
		case u.kind == stateType, u.kind == countyType, u.kind == "country", u.kind == "ReportingDevice":
			return &Error{u.path, fmt.Sprintf("is a %s within county %s, want reporting units there", u.kind, d.Counties[c].ID)}
		case u.kind == "other" && u.other == administrativeType:
			unit.Kind = schemas.AdministrativeUnit
		}
		i.unitOf[u.id] = len(d.Units)
		i.inCounty[c] = append(i.inCounty[c], len(d.Units))
		d.Units = append(d.Units, unit)
	}
	return nil
}

// styles gives each unit its ballot style.
func (i *importing) styles() error {
	d := &i.definition
	d.Styles = make([]schemas.Style, 0, len(i.election.styles))
	for n := range i.election.styles {
		f := &i.election.styles[n]
		style := schemas.Style{ID: styleID(f, n), Contests: make([]schemas.ContestID, 0, len(f.contests))}
		for _, id := range f.contests {
			c, ok := i.contest[id]
			if !ok {
				return &Error{f.path + ".OrderedContent", fmt.Sprintf("contest %s is not there", shown(id))}
			}
			style.Contests = append(style.Contests, c)
		}
		slices.Sort(style.Contests)
		d.Styles = append(d.Styles, style)
		if _, unused := f.externals.get(extUnused); unused {
			continue
		}
		for k, id := range f.units {
			if err := i.assign(fmt.Sprintf("%s.GpUnitIds[%d]", f.path, k), id, style.ID); err != nil {
				return err
			}
		}
	}
	for n := range i.file.units {
		u := &i.file.units[n]
		if at, ok := i.unitOf[u.id]; ok && d.Units[at].Style == "" {
			return &Error{u.path, fmt.Sprintf("no BallotStyle is for unit %s", shown(u.id))}
		}
	}
	return nil
}

// styleID is the style's external identifier, or its place: the standard gives
// styles no @id.
func styleID(f *fileStyle, n int) schemas.StyleID {
	if id, ok := f.externals.get(extStyle); ok {
		return schemas.StyleID(id)
	}
	if len(f.externals) > 0 && slug(f.externals[0].value) != "" {
		return schemas.StyleID(slug(f.externals[0].value))
	}
	return schemas.StyleID("style-" + strconv.Itoa(n+1))
}

// assign gives a style to a unit, or to all units of a place.
func (i *importing) assign(path, id string, style schemas.StyleID) error {
	d := &i.definition
	var units []int
	n, known := i.unitAt[id]
	unit, isUnit := i.unitOf[id]
	county, isCounty := i.counties[id]
	switch {
	case !known:
		return &Error{path, fmt.Sprintf("%s is not there", shown(id))}
	case isUnit:
		units = []int{unit}
	case isCounty:
		units = i.inCounty[county]
	case i.file.units[n].kind == stateType:
		for c := range d.Counties {
			if d.Counties[c].State == schemas.CountyID(identifier(id, placePrefix)) {
				units = append(units, i.inCounty[c]...)
			}
		}
	default:
		return &Error{path, fmt.Sprintf("%s is a %s that no county is composed of, want a reporting unit, a county or a state", shown(id), shown(i.file.units[n].kind))}
	}
	for _, u := range units {
		if before := d.Units[u].Style; before != "" {
			return &Error{path, fmt.Sprintf("unit %s has ballot style %s already: a unit has one, its contests are those of all its ballots", d.Units[u].ID, before)}
		}
		d.Units[u].Style = style
	}
	return nil
}

// settings are rules and how the night is run.
func (i *importing) settings() error {
	d, o, x := &i.definition, i.options, i.file.externals
	d.Rules = schemas.Rules{Ballots: o.Ballots, Registered: slices.ContainsFunc(d.Units, func(u schemas.Unit) bool { return u.Registered > 0 })}
	d.Partitions, d.Signatures = min(8, len(d.Counties)), 1
	for _, err := range []error{
		stated(x, extPartitions, &d.Partitions, strconv.Atoi),
		stated(x, extSignatures, &d.Signatures, strconv.Atoi),
		stated(x, extRegistered, &d.Rules.Registered, strconv.ParseBool),
		stated(x, extBallots, &d.Rules.Ballots, strconv.ParseBool),
	} {
		if err != nil {
			return err
		}
	}
	d.Rules.Ballots = d.Rules.Ballots || o.Ballots
	d.Partitions, d.Signatures = cmp.Or(o.Partitions, d.Partitions), cmp.Or(o.Signatures, d.Signatures)
	return nil
}

// stated reads one of our external identifiers, if it is there.
func stated[T any](x externals, kind string, dst *T, parse func(string) (T, error)) error {
	text, ok := x.get(kind)
	if !ok {
		return nil
	}
	v, err := parse(text)
	if err != nil {
		return &Error{"$.ExternalIdentifier", fmt.Sprintf("%s is %s, want a %T", kind, shown(text), v)}
	}
	*dst = v
	return nil
}
