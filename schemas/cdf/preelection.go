package cdf

import (
	"io"

	"tallystream/schemas"
)

// Definition writes the election before it begins (Status "pre-election"):
// what Import reads as an equal definition. f.Status is not looked at.
func (x *Exporter) Definition(w io.Writer, f *Facts) error {
	facts := *f
	facts.Status = PreElection
	r, err := x.begin(w, &facts, part{1, 1, precinctFormat})
	if err != nil {
		return err
	}
	d := x.election.Definition
	r.head()
	r.list("GpUnit")
	states := make([]int32, len(d.States))
	for i := range states {
		states[i] = int32(i)
	}
	r.scopeUnit(states, unsaid)
	for i := range states {
		r.stateUnit(int32(i), x.countiesOf(int32(i)), unsaid)
	}
	for c := range d.Counties {
		r.countyUnit(schemas.CountyIndex(c), true, unsaid)
	}
	for u := range d.Units {
		r.unit(schemas.UnitIndex(u))
	}
	for i := range d.Contests {
		r.districtUnit(schemas.ContestIndex(i))
	}
	r.endList()
	r.list("Election")
	r.electionHead()
	r.list("Contest")
	for i := range d.Contests {
		writeContest[int64](r, schemas.ContestIndex(i), unsaid, nil)
	}
	r.endList()
	r.list("Candidate")
	for i := range d.Contests {
		r.candidates(&d.Contests[i])
	}
	r.endList()
	r.styles()
	r.end()
	r.endList()
	r.partyList()
	return r.finish()
}

func (r *report) styles() {
	d := r.election.Definition
	units := make(map[schemas.StyleID][]int32, len(d.Styles))
	for i := range d.Units {
		units[d.Units[i].Style] = append(units[d.Units[i].Style], int32(i))
	}
	r.list("BallotStyle")
	for i := range d.Styles {
		style := &d.Styles[i]
		r.next("BallotStyle")
		r.list("ExternalIdentifier")
		r.external(extStyle, string(style.ID))
		if len(units[style.ID]) == 0 {
			r.external(extUnused, "true")
		}
		r.endList()
		r.list("GpUnitIds")
		for _, u := range units[style.ID] {
			r.comma()
			r.ref(unitPrefix, string(d.Units[u].ID))
		}
		if len(units[style.ID]) == 0 {
			r.ref(r.scope)
		}
		r.endList()
		r.list("OrderedContent")
		for _, c := range style.Contests {
			r.next("OrderedContest")
			r.id("ContestId", contestPrefix, string(c))
			r.end()
		}
		r.endList()
		r.end()
	}
	r.endList()
}
