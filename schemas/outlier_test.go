package schemas_test

import (
	"testing"

	"tallystream/schemas"
)

// outlierElection is a county of four precincts and an administrative unit
// that count ballots, with all the rules.
func outlierElection(t *testing.T) *schemas.Election {
	d := schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "e", Name: "E", Date: "2026-11-03", Origin: "example.org/e",
		CountTypes: []schemas.CountType{schemas.ElectionDay}, Partitions: 1, Signatures: 1,
		Rules: schemas.Rules{Ballots: true, Outliers: &schemas.OutlierRules{
			History:    &schemas.HistoryRule{Percent: 200, Least: 50},
			Neighbours: &schemas.NeighbourRule{Percent: 300, Least: 50, Units: 2},
			Twins:      &schemas.TwinRule{Least: 10},
		}},
		States:   []schemas.State{{ID: "st", Name: "St"}},
		Counties: []schemas.County{{ID: "leon", State: "st"}},
		Contests: []schemas.Contest{{
			ID: "mayor", Kind: schemas.CandidateContest, VotesAllowed: 1,
			Residuals: schemas.ResidualsNone, Selections: []schemas.Selection{{ID: "x"}, {ID: "y"}},
		}},
		Styles: []schemas.Style{{ID: "s", Contests: []schemas.ContestID{"mayor"}}, {ID: "s2", Contests: []schemas.ContestID{"mayor"}}},
	}
	for _, id := range []schemas.UnitID{"a", "b", "c", "d"} {
		d.Units = append(d.Units, schemas.Unit{ID: id, County: "leon", Kind: schemas.PrecinctUnit, Style: "s"})
	}
	d.Units[3].History = 100
	d.Units = append(d.Units, schemas.Unit{ID: "z", County: "leon", Kind: schemas.AdministrativeUnit, Style: "s"})
	d.Units = append(d.Units, schemas.Unit{ID: "other-style", County: "leon", Kind: schemas.PrecinctUnit, Style: "s2"})
	return open(t, &d)
}

// row is a unit's: reported, ballots; stated, votes of x and of y.
func row(ballots, x, y schemas.Count) []schemas.Count { return []schemas.Count{1, ballots, 1, x, y} }

func TestOnlyWhatIsFarAboveHistoryOrNeighboursIsAnOutlier(t *testing.T) {
	e := outlierElection(t)
	unit := func(id schemas.UnitID) schemas.UnitIndex { u, _ := e.Unit(id); return u }
	county := make([]int64, e.Counties[0].Cells)
	hold := func(id schemas.UnitID, before, after []schemas.Count) string {
		if f := e.Outlier(unit(id), county, before, after); f != nil {
			return f.String()
		}
		return ""
	}
	if got := hold("a", nil, row(9000, 1, 1)); got != "" {
		t.Errorf("without neighbours: %s", got)
	}
	e.Fold(county, unit("a"), nil, row(100, 60, 40))
	if got := hold("b", nil, row(9000, 1, 1)); got != "" {
		t.Errorf("with one neighbour where two are asked for: %s", got)
	}
	e.Fold(county, unit("b"), nil, row(50, 30, 20))
	for _, c := range []struct {
		unit          schemas.UnitID
		before, after []schemas.Count
		want          string
	}{
		{"c", nil, row(225, 1, 1), ""}, // three times the mean of 75, which is let pass
		{"c", nil, row(226, 1, 1), "neighbours of ballots-cast: 226, against 75 (rule: at most 300%)"},
		{"d", nil, row(200, 1, 1), ""},
		{"d", nil, row(201, 1, 1), "history of ballots-cast: 201, against 100 (rule: at most 200%)"},
		{"a", row(100, 60, 40), row(9000, 60, 40), ""}, // of two, one is itself
		{"z", nil, row(9000, 1, 1), ""},
	} {
		if got := hold(c.unit, c.before, c.after); got != c.want {
			t.Errorf("%s with %v: got %q, want %q", c.unit, c.after, got, c.want)
		}
	}
	e.Fold(county, unit("c"), nil, row(60, 30, 30))
	if got := hold("a", row(100, 60, 40), row(166, 100, 66)); got != "neighbours of ballots-cast: 166, against 55 (rule: at most 300%)" {
		t.Errorf("its own row counts for its neighbours' mean: %q", got)
	}
}

func TestTwinsSayTheSameOfTheSameBallot(t *testing.T) {
	e := outlierElection(t)
	key := func(id schemas.UnitID, cells []schemas.Count) schemas.TwinKey {
		u, _ := e.Unit(id)
		k, ok := e.Twin(u, cells)
		if !ok {
			t.Fatalf("the rule does not apply to %v", cells)
		}
		return k
	}
	if u, _ := e.Unit("a"); true {
		if _, ok := e.Twin(u, row(100, 5, 4)); ok {
			t.Error("the rule applies below its least")
		}
	}
	same := key("a", row(100, 60, 40))
	if key("b", row(100, 60, 40)) != same {
		t.Error("two equal rows have different keys")
	}
	if key("b", row(100, 60, 41)) == same || key("b", row(101, 60, 40)) == same || key("other-style", row(100, 60, 40)) == same {
		t.Error("different rows have one key")
	}
}

func TestABodyOfAnotherDefinitionThatFitsIsHeld(t *testing.T) {
	e := outlierElection(t)
	u, _ := e.Unit("a")
	body := func(hash, selection string) *schemas.Submission {
		s := new(schemas.Submission)
		err := s.Decode([]byte(`{"schema":"tallystream.submission/1","election":"e","definition":"` + hash +
			`","unit":"a","revision":1,"countTypes":["election-day"],"ballots":[10],"contests":[{"contest":"mayor","votes":[` +
			`{"selection":"x","counts":[5]},{"selection":"` + selection + `","counts":[4]}]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	other := schemas.DigestOf([]byte("another edition")).String()
	var st schemas.Statement
	if err := e.Resolve(body(other, "y"), &st); err != nil || st.Unit != u || e.Implausible(&st) != schemas.HoldDefinition {
		t.Errorf("it fits: %v, hold %q", err, e.Implausible(&st))
	}
	if err := e.Resolve(body(e.Hash.String(), "y"), &st); err != nil || e.Implausible(&st) != "" {
		t.Errorf("the right one behind it: %v, hold %q", err, e.Implausible(&st))
	}
	if err := e.Resolve(body(other, "w"), &st); err == nil {
		t.Error("one that does not fit is let in")
	}
}
