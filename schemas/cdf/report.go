package cdf

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"tallystream/schemas"
)

// report is one file being written.
type report struct {
	*Exporter
	writer
	facts *Facts
	part  part
	// parties that this file's contests name, by number - 1.
	used []bool
}

func (x *Exporter) begin(w io.Writer, f *Facts, p part) (*report, error) {
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("writing CDF: %w", err)
	}
	return &report{Exporter: x, writer: writer{w: w, b: make([]byte, 0, flushAt+4<<10)}, facts: f, part: p, used: make([]bool, len(x.names))}, nil
}

// finish ends the root object and writes what is left.
func (r *report) finish() error {
	r.end()
	r.b = append(r.b, '\n')
	r.flush(0)
	if r.err != nil {
		return fmt.Errorf("writing CDF: %w", r.err)
	}
	return nil
}

// head opens the root object.
func (r *report) head() {
	d, f := r.election.Definition, r.facts
	issuer, application := f.Issuer, f.Application
	if issuer == "" {
		issuer, _, _ = strings.Cut(d.Origin, "/")
	}
	abbreviation := f.IssuerAbbreviation
	if abbreviation == "" {
		abbreviation = issuer
	}
	if application == "" {
		application = "tallystream"
	}
	r.open("ElectionReport")
	r.string("Format", r.part.format)
	r.string("GeneratedDate", f.Time.UTC().Format(time.RFC3339))
	r.string("Issuer", issuer)
	r.string("IssuerAbbreviation", abbreviation)
	r.int("SequenceStart", int64(r.part.number))
	r.int("SequenceEnd", int64(r.part.of))
	r.string("Status", string(f.Status))
	r.string("VendorApplicationId", application)
	if f.Test != "" {
		r.bool("IsTest", true)
		r.string("TestType", f.Test)
	}
	if notes := f.notes(); notes != "" {
		r.string("Notes", notes)
	}
	r.list("ExternalIdentifier")
	r.external(extDefinition, r.election.Hash.String())
	r.external(extOrigin, d.Origin)
	if f.Status == PreElection {
		r.external(extPartitions, strconv.Itoa(d.Partitions))
		r.external(extSignatures, strconv.Itoa(d.Signatures))
		r.external(extBallots, strconv.FormatBool(d.Rules.Ballots))
		r.external(extRegistered, strconv.FormatBool(d.Rules.Registered))
	}
	if f.Snapshot > 0 {
		r.external(extSnapshot, f.Snapshot.String())
		r.external(extLog, f.Log.String())
	}
	r.endList()
}

// electionHead opens the election, up to its counts.
func (r *report) electionHead() {
	d, f := r.election.Definition, r.facts
	r.next("Election")
	r.list("ExternalIdentifier")
	r.external(extElection, string(d.Election))
	r.endList()
	r.internationalized("Name", d.Name)
	kind := f.ElectionType
	if kind == "" {
		kind = OtherElection
	}
	r.string("Type", string(kind))
	r.string("StartDate", d.Date)
	r.string("EndDate", d.Date)
	r.id("ElectionScopeId", r.scope)
	// In the definition's order: it is the order of every array of counts.
	r.list("CountStatus")
	for _, t := range d.CountTypes {
		item, other := countItem(t)
		r.next("CountStatus")
		r.string("Type", item)
		if other != "" {
			r.string("OtherType", other)
		}
		r.string("Status", countStatus(f.Status))
		r.end()
	}
	r.endList()
}

// countStatus is the CountItemStatus of every count type: a unit that has
// reported may still be without its late ballots, so only a certified count is
// known to be complete.
func countStatus(s Status) string {
	switch s {
	case PreElection:
		return "not-processed"
	case UnofficialPartial:
		return "in-process"
	case Certified:
		return "completed"
	}
	return "unknown"
}

// progress of a place, in units; total < 0: not said.
type progress struct{ reported, total int64 }

var unsaid = progress{-1, -1}

func (r *report) progress(p progress) {
	if p.total >= 0 {
		r.int("SubUnitsReported", p.reported)
		r.int("TotalSubUnits", p.total)
	}
}

// place opens a ReportingUnit of a place; ComposingGpUnitIds and end follow.
func (r *report) place(id schemas.CountyID, kind, name string, p progress) {
	r.next("ReportingUnit")
	r.id("@id", placePrefix, string(id))
	r.string("Type", kind)
	if name != "" {
		r.internationalized("Name", name)
	}
	r.progress(p)
}

// scopeUnit writes the unit of an election in several states.
func (r *report) scopeUnit(states []int32, p progress) {
	if !r.several {
		return
	}
	r.place(schemas.CountyID(r.election.Definition.Election), "country", "", p)
	r.list("ComposingGpUnitIds")
	for _, s := range states {
		r.comma()
		r.ref(placePrefix, string(r.election.Definition.States[s].ID))
	}
	r.endList()
	r.end()
}

func (r *report) stateUnit(s int32, counties []schemas.CountyIndex, p progress) {
	state := &r.election.Definition.States[s]
	r.place(state.ID, "state", state.Name, p)
	r.list("ComposingGpUnitIds")
	for _, c := range counties {
		r.comma()
		r.ref(placePrefix, string(r.election.Counties[c].ID))
	}
	r.endList()
	r.end()
}

// countyUnit writes a county, with its units if the file has them.
func (r *report) countyUnit(c schemas.CountyIndex, units bool, p progress) {
	county := &r.election.Definition.Counties[c]
	r.place(county.ID, "county", county.Name, p)
	if units {
		r.list("ComposingGpUnitIds")
		for _, u := range r.election.Counties[c].Units {
			r.comma()
			r.ref(unitPrefix, string(r.election.Units[u].ID))
		}
		r.endList()
	}
	r.end()
}

func (r *report) unit(i schemas.UnitIndex) {
	u := &r.election.Definition.Units[i]
	r.next("ReportingUnit")
	r.id("@id", unitPrefix, string(u.ID))
	if u.Kind == schemas.AdministrativeUnit {
		r.string("Type", "other")
		r.string("OtherType", administrativeType)
	} else {
		r.string("Type", "precinct")
	}
	r.internationalized("Name", u.Name)
	if u.Registered > 0 {
		r.int("VotersRegistered", int64(u.Registered))
	}
	r.end()
}

// districtUnit writes the district of a contest that no place bounds. Which
// units it is made of, ballot styles say before the election.
func (r *report) districtUnit(i schemas.ContestIndex) {
	if !r.hasOwnDistrict(i) {
		return
	}
	c := &r.election.Definition.Contests[i]
	r.next("ReportingUnit")
	r.id("@id", districtPrefix, string(c.ID))
	r.string("Type", "other")
	r.string("OtherType", districtType)
	r.internationalized("Name", c.Name)
	r.bool("IsDistricted", true)
	r.end()
}

// partyList writes the parties that a contest of this file named.
func (r *report) partyList() {
	r.list("Party")
	for i, used := range r.used {
		if used {
			r.next("Party")
			r.id("@id", partyPrefix, strconv.Itoa(i+1))
			r.internationalized("Name", r.names[i])
			r.end()
		}
	}
	r.endList()
}

// party notes that the file needs a party, and returns its number.
func (r *report) party(name string) string {
	n := r.parties[name]
	r.used[n-1] = true
	return strconv.Itoa(n)
}
