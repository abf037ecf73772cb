package schemas_test

import (
	"encoding/json"
	"testing"

	"tallystream/schemas"
)

// exampleDefinition is a small election that has everything: residuals of both
// forms, a contest without them, an administrative unit, two counties.
func exampleDefinition() *schemas.Definition {
	return &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "test-2026", Name: "Test", Date: "2026-11-03",
		Origin: "results.example/test-2026", CountTypes: []schemas.CountType{schemas.Early, schemas.ElectionDay, schemas.AbsenteeMail},
		Partitions: 2, Signatures: 1, Rules: schemas.Rules{Ballots: true, Registered: true},
		States:   []schemas.State{{ID: "st", Name: "State"}},
		Counties: []schemas.County{{ID: "leon", Name: "Leon", State: "st"}, {ID: "sumter", Name: "Sumter", State: "st"}},
		Contests: []schemas.Contest{
			{ID: "president", Name: "President", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsByType,
				Selections: []schemas.Selection{{ID: "smith", Name: "Smith", Party: "A"}, {ID: "jones", Name: "Jones", Party: "B"}}},
			{ID: "council", Name: "Council", Kind: schemas.CandidateContest, VotesAllowed: 2, Residuals: schemas.ResidualsTotal,
				Selections: []schemas.Selection{{ID: "brown", Name: "Brown"}, {ID: "clark", Name: "Clark"}, {ID: "write-in", Name: "Write-in", WriteIn: true}}},
			{ID: "amendment-1", Name: "Amendment 1", Kind: schemas.BallotMeasureContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone,
				Selections: []schemas.Selection{{ID: "yes", Name: "Yes"}, {ID: "no", Name: "No"}}},
		},
		Styles: []schemas.Style{
			{ID: "all", Contests: []schemas.ContestID{"amendment-1", "council", "president"}},
			{ID: "short", Contests: []schemas.ContestID{"amendment-1", "president"}},
		},
		Units: []schemas.Unit{
			{ID: "leon.1", Name: "1", County: "leon", Kind: schemas.PrecinctUnit, Style: "all", Registered: 200},
			{ID: "leon.provisional", Name: "Provisional", County: "leon", Kind: schemas.AdministrativeUnit, Style: "all"},
			{ID: "sumter.1", Name: "1", County: "sumter", Kind: schemas.PrecinctUnit, Style: "short", Registered: 100},
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

// exampleCells is a row of leon.1 that adds up.
func exampleCells() []schemas.Count {
	return []schemas.Count{
		1, 40, 60, 10, // ballots
		1, 20, 30, 5, 15, 20, 5, // amendment-1: yes, no
		1, 40, 50, 10, 30, 60, 8, 0, 2, 0, 8, 8, 4, 0, 0, 0, // council: brown, clark, write-in, under, over
		1, 25, 40, 2, 14, 19, 8, 1, 0, 0, 0, 1, 0, // president
	}
}
