package cdf_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

var night = time.Date(2026, 11, 3, 21, 4, 5, 678e6, time.FixedZone("", -5*3600))

// facts of snapshot 12 of a rehearsal.
func facts(status cdf.Status) *cdf.Facts {
	return &cdf.Facts{
		Issuer: "State of \"Oz\" – Elections", IssuerAbbreviation: "OZ", Status: status, Test: "rehearsal", Time: night,
		Snapshot: 12, Log: 4021, Holds: map[schemas.HoldCode]uint64{schemas.HoldLowered: 2, schemas.HoldIdentity: 1, schemas.HoldPoison: 0},
		Movements: 4,
	}
}

// example is an election with one of everything: two states, four kinds of
// contests, residuals of all forms, a contest of half a county, an
// administrative unit, a write-in, a local count type, an unused style, names
// that need escapes.
func example() *schemas.Definition {
	return &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "oz-2026", Name: `The "General" <Election> & more`, Date: "2026-11-03",
		Origin: "results.example/oz-2026", CountTypes: []schemas.CountType{schemas.Early, schemas.ElectionDay, "other-failsafe", schemas.OtherCounts},
		Partitions: 2, Signatures: 2, Rules: schemas.Rules{Ballots: true, Registered: true},
		States: []schemas.State{{ID: "oz", Name: "Oz"}, {ID: "ix", Name: "Ix"}},
		Counties: []schemas.County{
			{ID: "emerald", Name: "Emerald", State: "oz"}, {ID: "east", Name: "East", State: "ix"}, {ID: "winkie", Name: "Winkie", State: "oz"},
		},
		Contests: []schemas.Contest{
			{ID: "president", Name: "President", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsByType, Selections: []schemas.Selection{
				{ID: "ozma", Name: "Ozma Novák", Party: "Green"}, {ID: "jinjur", Name: "Jinjur", Party: "Army \\ Revolt"}, {ID: "write-in", Name: "Write-in", WriteIn: true},
			}},
			{ID: "council", Name: "Council", Kind: schemas.CandidateContest, VotesAllowed: 2, Residuals: schemas.ResidualsTotal, Selections: []schemas.Selection{
				{ID: "a", Name: "A", Party: "Green"}, {ID: "b.s.c", Name: "B\n2"},
			}},
			{ID: "council.s", Name: "Council of part S", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone, Selections: []schemas.Selection{{ID: "a", Name: "A"}}},
			{ID: "measure", Name: "Measure 1", Kind: schemas.BallotMeasureContest, VotesAllowed: 1, Residuals: schemas.ResidualsTotal, Selections: []schemas.Selection{
				{ID: "yes", Name: "Yes"}, {ID: "no", Name: "No", Party: "against", WriteIn: true},
			}},
			{ID: "judge", Name: "Judge Scarecrow", Kind: schemas.RetentionContest, VotesAllowed: 3, Residuals: schemas.ResidualsNone, Selections: []schemas.Selection{
				{ID: "yes", Name: "Yes"}, {ID: "no", Name: "No"},
			}},
			{ID: "straight", Name: "Straight party", Kind: schemas.PartyContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone, Selections: []schemas.Selection{
				{ID: "green", Name: "Green"}, {ID: "army", Name: "The army", Party: "Army \\ Revolt"}, {ID: "tin", Name: "Tin", Party: "Tin", WriteIn: true},
			}},
			{ID: "nowhere", Name: "On no ballot", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone, Selections: []schemas.Selection{{ID: "x", Name: ""}}},
		},
		Styles: []schemas.Style{
			{ID: "oz-1", Contests: []schemas.ContestID{"council", "judge", "measure", "president", "straight"}},
			{ID: "oz-2", Contests: []schemas.ContestID{"council.s", "judge", "measure", "president"}},
			{ID: "unused", Contests: []schemas.ContestID{"judge"}},
			{ID: "ix", Contests: []schemas.ContestID{"president"}},
			{ID: "empty", Contests: []schemas.ContestID{}},
		},
		Units: []schemas.Unit{
			{ID: "winkie.1", Name: "1", County: "winkie", Kind: schemas.PrecinctUnit, Style: "oz-1", Registered: 300},
			{ID: "emerald.1", Name: "1", County: "emerald", Kind: schemas.PrecinctUnit, Style: "oz-1", Registered: 200},
			{ID: "emerald.2", Name: "2", County: "emerald", Kind: schemas.PrecinctUnit, Style: "oz-2", Registered: 250},
			{ID: "emerald.provisional", Name: "Provisional", County: "emerald", Kind: schemas.AdministrativeUnit, Style: "empty"},
			{ID: "east.1", Name: "Östlich \"\uFFFD\"", County: "east", Kind: schemas.PrecinctUnit, Style: "ix", Registered: 100},
			{ID: "east.2", Name: "2", County: "east", Kind: schemas.PrecinctUnit, Style: "ix"},
		},
	}
}

func open(t testing.TB, d *schemas.Definition) *schemas.Election {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := schemas.OpenElection(b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// tallies are rows of units and of the counties that they fold into.
type tallies struct {
	election *schemas.Election
	units    [][]schemas.Count // nil: not reported
	counties [][]int64
}

// tally draws rows: some units have not reported, some not every contest.
func tally(e *schemas.Election, reported func(schemas.UnitIndex) bool) *tallies {
	t := &tallies{election: e, units: make([][]schemas.Count, len(e.Units))}
	n := schemas.Count(0)
	for u := range e.Units {
		if !reported(schemas.UnitIndex(u)) {
			continue
		}
		row := make([]schemas.Count, e.Units[u].Style.Cells)
		for i := range e.Units[u].Style.Sections {
			s := &e.Units[u].Style.Sections[i]
			if i > 0 && (u+i)%5 == 0 {
				continue // this contest is not stated
			}
			for k := range s.Size(e.Types()) {
				n++
				row[int(s.Offset)+k] = n % 7 * (n % 113) // many zeros
			}
			row[s.Offset] = 1
		}
		t.units[u] = row
	}
	t.fold()
	return t
}

func (t *tallies) fold() {
	t.counties = make([][]int64, len(t.election.Counties))
	for c := range t.counties {
		t.counties[c] = make([]int64, t.election.Counties[c].Cells)
	}
	for u, row := range t.units {
		if row != nil {
			t.election.Fold(t.counties[t.election.Units[u].County], schemas.UnitIndex(u), nil, row)
		}
	}
}

// row overwrites dst, as a row read from a store would.
func (t *tallies) row(u schemas.UnitIndex, dst []schemas.Count) ([]schemas.Count, error) {
	if t.units[u] == nil {
		return nil, nil
	}
	return append(dst[:0], t.units[u]...), nil
}

func all(schemas.UnitIndex) bool { return true }

func summary(t testing.TB, ts *tallies, f *cdf.Facts) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := cdf.NewExporter(ts.election).Summary(&b, f, ts.counties); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func county(t testing.TB, ts *tallies, f *cdf.Facts, c schemas.CountyIndex) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := cdf.NewExporter(ts.election).County(&b, f, c, ts.row); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func preElection(t testing.TB, e *schemas.Election) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := cdf.NewExporter(e).Definition(&b, &cdf.Facts{Time: night}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
