package ledgertest

import (
	"encoding/json"
	"fmt"
	"testing"

	"tallystream/schemas"
)

// Shape of an election for tests.
type Shape struct {
	Counties, UnitsPerCounty, Contests, Partitions int
	// Outliers are the rules against what is unlikely; History is every unit's.
	Outliers *schemas.OutlierRules
	History  int
}

// Election makes an election of that shape, with two count types, ballots and
// registered voters. Contests allow one vote, and every other one knows its
// over- and undervotes by count type.
func Election(tb testing.TB, shape Shape) *schemas.Election {
	tb.Helper()
	b, err := json.Marshal(definition(shape))
	if err != nil {
		tb.Fatal(err)
	}
	e, err := schemas.OpenElection(b)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func definition(shape Shape) *schemas.Definition {
	d := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "test", Name: "Test", Date: "2026-11-03", Origin: "example.org/test",
		CountTypes: []schemas.CountType{schemas.Early, schemas.ElectionDay},
		Partitions: shape.Partitions, Signatures: 1,
		Rules:  schemas.Rules{Ballots: true, Registered: true, Outliers: shape.Outliers},
		States: []schemas.State{{ID: "st", Name: "State"}},
		Styles: []schemas.Style{{ID: "full"}, {ID: "short"}},
	}
	for i := range shape.Contests {
		c := schemas.Contest{
			ID: schemas.ContestID(fmt.Sprintf("contest-%03d", i)), Name: fmt.Sprintf("Contest %d", i),
			Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone,
			Selections: []schemas.Selection{{ID: "a", Name: "A"}, {ID: "b", Name: "B"}, {ID: "c", Name: "C"}},
		}
		if i%2 == 0 {
			c.Residuals = schemas.ResidualsByType
		}
		d.Contests = append(d.Contests, c)
		d.Styles[0].Contests = append(d.Styles[0].Contests, c.ID)
	}
	d.Styles[1].Contests = d.Styles[0].Contests[:(shape.Contests+1)/2]
	for c := range shape.Counties {
		county := schemas.CountyID(fmt.Sprintf("county-%04d", c))
		d.Counties = append(d.Counties, schemas.County{ID: county, Name: string(county), State: "st"})
		for u := range shape.UnitsPerCounty {
			id := schemas.UnitID(fmt.Sprintf("st-%s-precinct-%03d", county, u))
			d.Units = append(d.Units, schemas.Unit{
				ID: id, Name: string(id), County: county, Kind: schemas.PrecinctUnit,
				Style: d.Styles[u%2].ID, Registered: 5000, History: shape.History,
			})
		}
	}
	return d
}
