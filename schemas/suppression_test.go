package schemas_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tallystream/schemas"
)

// smallUnits is an election of one county with units of the given sizes and
// ballot styles, and a second county of large ones.
func smallUnits(below int, units ...schemas.Unit) *schemas.Definition {
	d := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "test-2028", Date: "2028-11-07", Origin: "example.org/test",
		CountTypes: []schemas.CountType{schemas.ElectionDay}, Partitions: 1, Signatures: 1,
		Rules:    schemas.Rules{Ballots: true, Registered: true, Suppression: &schemas.SuppressionRule{Below: below}},
		States:   []schemas.State{{ID: "north", Name: "North"}},
		Counties: []schemas.County{{ID: "oak", Name: "Oak", State: "north"}, {ID: "fir", Name: "Fir", State: "north"}},
		Contests: []schemas.Contest{
			{ID: "all", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsByType, Selections: []schemas.Selection{{ID: "a"}}},
			{ID: "some", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsByType, Selections: []schemas.Selection{{ID: "a"}}},
		},
		Styles: []schemas.Style{{ID: "both", Contests: []schemas.ContestID{"all", "some"}}, {ID: "one", Contests: []schemas.ContestID{"all"}}},
		Units:  units,
	}
	for i := range 3 {
		d.Units = append(d.Units, schemas.Unit{ID: schemas.UnitID(fmt.Sprint("fir.", i)), County: "fir", Kind: schemas.PrecinctUnit, Style: "one", Registered: 1000})
	}
	return d
}

func sized(id schemas.UnitID, style schemas.StyleID, registered int) schemas.Unit {
	return schemas.Unit{ID: id, County: "oak", Kind: schemas.PrecinctUnit, Style: style, Registered: registered}
}

// groups lists the units of each remainder.
func groups(e *schemas.Election) (out []string) {
	for i := range e.Remainders {
		var ids []string
		for _, u := range e.Remainders[i].Units {
			ids = append(ids, string(e.Units[u].ID))
		}
		out = append(out, strings.Join(ids, " "))
	}
	return out
}

func TestSmallUnitsAreCombinedWithWhomTheyAreLikeMost(t *testing.T) {
	for _, c := range []struct {
		name  string
		units []schemas.Unit
		want  []string
	}{
		{"nobody is small", []schemas.Unit{sized("a", "both", 20), sized("b", "both", 21)}, nil},
		{"two small ones of a style, large enough together", []schemas.Unit{sized("a", "both", 10), sized("b", "both", 10), sized("c", "both", 50)}, []string{"a b"}},
		{"three that need each other", []schemas.Unit{sized("a", "both", 6), sized("b", "both", 6), sized("c", "both", 19), sized("d", "both", 50)}, []string{"a b c"}},
		{"one small one takes the smallest other of its style", []schemas.Unit{sized("a", "one", 30), sized("b", "both", 3), sized("c", "both", 60), sized("d", "both", 50)}, []string{"b d"}},
		{"who finds nobody free joins a group", []schemas.Unit{sized("a", "both", 19), sized("b", "one", 19), sized("c", "both", 500)}, []string{"a b c"}},
		{"two groups", []schemas.Unit{sized("a", "both", 15), sized("b", "one", 15), sized("c", "both", 15), sized("d", "one", 15)}, []string{"a c", "b d"}},
		{"what is not known is small", []schemas.Unit{sized("a", "both", 0), sized("b", "both", 90)}, []string{"a b"}},
		{"alone in its county", []schemas.Unit{sized("a", "both", 5)}, []string{"a"}},
	} {
		e := openDefinition(t, smallUnits(20, c.units...))
		if got := groups(e); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func openDefinition(t interface{ Fatal(...any) }, d *schemas.Definition) *schemas.Election {
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

func TestARemainderShowsNoContestOfTooFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const below = 20
		var units []schemas.Unit
		for i := range rapid.IntRange(1, 12).Draw(t, "units") {
			style := rapid.SampledFrom([]schemas.StyleID{"both", "one"}).Draw(t, "style")
			units = append(units, sized(schemas.UnitID(fmt.Sprint("u", i)), style, rapid.IntRange(0, 40).Draw(t, "size")))
		}
		e := openDefinition(t, smallUnits(below, units...))
		seen := map[schemas.UnitIndex]int{}
		for i := range e.Remainders {
			r := &e.Remainders[i]
			for k := range r.Sections {
				voting, people := 0, 0
				for _, u := range r.Units {
					if slices.Contains(e.Units[u].CountySections, int32(k)) {
						voting, people = voting+1, people+e.Units[u].Registered
					}
				}
				s := r.Sections[k]
				if int(s.Voting) != voting || s.Shown != (voting >= 2 && people >= below) || s.Residuals && !s.Shown {
					t.Fatalf("%s of %v, section %d: %+v, %d vote, of %d people", r.ID, r.Units, k, s, voting, people)
				}
			}
			for _, u := range r.Units {
				seen[u]++
				if e.RemainderOf(u) != i || !r.Has(u) {
					t.Fatalf("unit %d is of remainder %d, want %d", u, e.RemainderOf(u), i)
				}
			}
			if first, of := e.RemaindersOf(r.County); i < first || i >= first+len(of) {
				t.Fatalf("remainder %d is none of its county's", i)
			}
		}
		for u := range e.Units {
			if n := seen[schemas.UnitIndex(u)]; n > 1 || n == 0 && (e.Units[u].Registered < below || e.RemainderOf(schemas.UnitIndex(u)) >= 0) {
				t.Fatalf("unit %s of %d people is in %d remainders", e.Units[u].ID, e.Units[u].Registered, n)
			}
		}
	})
}

func TestWithoutTheRuleNothingIsHidden(t *testing.T) {
	d := smallUnits(20, sized("a", "both", 1), sized("b", "both", 1))
	d.Rules.Suppression = nil
	e := openDefinition(t, d)
	if len(e.Remainders) > 0 || e.RemainderOf(0) != -1 {
		t.Errorf("remainders %q", groups(e))
	}
}

func TestBadRulesOfSuppression(t *testing.T) {
	for name, change := range map[string]func(*schemas.Definition){
		"below 1":              func(d *schemas.Definition) { d.Rules.Suppression.Below = 1 },
		"a unit of their name": func(d *schemas.Definition) { d.Units[0].ID = "combined-7" },
		"no size is known": func(d *schemas.Definition) {
			for i := range d.Units {
				d.Units[i].Registered = 0
			}
		},
	} {
		d := smallUnits(20, sized("a", "both", 1), sized("b", "both", 100))
		change(d)
		if err := d.Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	d := smallUnits(20, sized("combined-x", "both", 1))
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
}

// TestHiddenUnitsAreNoMeasureForOthers: whoever is held because of them would
// tell of them.
func TestHiddenUnitsAreNoMeasureForOthers(t *testing.T) {
	d := smallUnits(20, sized("a", "one", 5), sized("b", "one", 100), sized("c", "one", 200), sized("d", "one", 300))
	d.Rules.Outliers = &schemas.OutlierRules{Neighbours: &schemas.NeighbourRule{Percent: 101, Units: 1}, Twins: &schemas.TwinRule{Least: 1}}
	oak := []int64{2, 40, 2, 40, 0, 0} // of two units, one vote in each ballot
	far := []schemas.Count{1, 150, 1, 150, 0, 0}
	hides := openDefinition(t, d)
	d.Rules.Suppression = nil
	tells := openDefinition(t, d)
	d.Rules.Suppression = &schemas.SuppressionRule{Below: 20}
	c, _ := tells.Unit("c")
	if tells.Outlier(c, oak, nil, far) == nil || hides.Outlier(c, oak, nil, far) != nil {
		t.Error("want neighbours to hold where nobody is hidden, and only there")
	}
	a, _ := tells.Unit("a")
	_, before := tells.Twin(a, far)
	if _, now := hides.Twin(a, far); !before || now {
		t.Error("want twins to hold where nobody is hidden, and only there")
	}
	if _, now := hides.Twin(c, far); !now {
		t.Error("want twins to hold among those that are not hidden")
	}
}
