package timeseries_test

import (
	"path/filepath"
	"slices"
	"testing"

	"tallystream/schemas"
	"tallystream/simulator/timeseries"
)

// heldBy are what a rule holds of the series: copies are statements of precincts
// that came before under another name of the county, the others only look so.
type heldBy struct{ copies, others int }

// wouldHold judges the series by the rules of an election, with nobody who
// releases anything.
func wouldHold(s *timeseries.Series, rules *schemas.OutlierRules, code schemas.HoldCode) (n heldBy) {
	e := s.Election
	e.Definition.Rules.Outliers = rules
	county := make([][]int64, len(e.Counties))
	for i := range county {
		county[i] = make([]int64, e.Counties[i].Cells)
	}
	type twin struct {
		county schemas.CountyIndex
		key    schemas.TwinKey
	}
	counted, having := make([][]schemas.Count, len(e.Units)), map[twin]int{}
	of := func(u schemas.UnitIndex, cells []schemas.Count) (twin, bool) {
		key, applies := e.Twin(u, cells)
		return twin{e.Units[u].County, key}, applies
	}
	for _, m := range s.Moments {
		for _, st := range m.Statements {
			before, c := counted[st.Unit], e.Units[st.Unit].County
			if before != nil && e.Lowered(st.Unit, before, st.Cells) != "" {
				continue
			}
			key, applies := of(st.Unit, st.Cells)
			others := having[key]
			if before != nil && slices.Equal(before, st.Cells) {
				others-- // itself
			}
			var found schemas.HoldCode
			switch {
			case applies && others > 0:
				found = schemas.HoldTwin
			case e.Outlier(st.Unit, county[c], before, st.Cells) != nil:
				found = schemas.HoldOutlier
			}
			if found == code {
				if s.Places[st.Unit].CopyOf != st.Unit {
					n.copies++
				} else {
					n.others++
				}
			}
			if found != "" {
				continue
			}
			if before != nil {
				if old, ok := of(st.Unit, before); ok {
					having[old]--
				}
			}
			if applies {
				having[key]++
			}
			e.Fold(county[c], st.Unit, before, st.Cells)
			counted[st.Unit] = st.Cells
		}
	}
	return n
}

// TestWhatOtherRulesWouldHold has the figures by which the rules of the rehearsal
// were chosen.
func TestWhatOtherRulesWouldHold(t *testing.T) {
	s, err := timeseries.Import(filepath.Dir(data(t, "changes.csv.gz")), timeseries.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		least int
		want  heldBy
	}{
		{1, heldBy{603, 11}}, {10, heldBy{597, 9}}, {50, heldBy{583, 8}}, {100, heldBy{518, 8}}, {150, heldBy{395, 4}}, {200, heldBy{256, 0}},
	} {
		got := wouldHold(s, &schemas.OutlierRules{Twins: &schemas.TwinRule{Least: c.least}}, schemas.HoldTwin)
		t.Logf("twins from %d votes: %+v", c.least, got)
		if got != c.want {
			t.Errorf("twins from %d votes: %+v, want %+v", c.least, got, c.want)
		}
	}
	for _, c := range []struct {
		rule schemas.NeighbourRule
		want heldBy
	}{
		{schemas.NeighbourRule{Percent: 300, Least: 100, Units: 10}, heldBy{538, 4693}},
		{schemas.NeighbourRule{Percent: 300, Least: 1000, Units: 10}, heldBy{77, 930}},
		{schemas.NeighbourRule{Percent: 300, Least: 2000, Units: 10}, heldBy{31, 181}},
		{schemas.NeighbourRule{Percent: 500, Least: 1000, Units: 10}, heldBy{77, 599}},
		{schemas.NeighbourRule{Percent: 1000, Least: 1000, Units: 10}, heldBy{27, 99}},
		{schemas.NeighbourRule{Percent: 1000, Least: 3000, Units: 20}, heldBy{2, 2}},
	} {
		got := wouldHold(s, &schemas.OutlierRules{Neighbours: &c.rule}, schemas.HoldOutlier)
		t.Logf("neighbours %+v: %+v", c.rule, got)
		if got != c.want {
			t.Errorf("neighbours %+v: %+v, want %+v", c.rule, got, c.want)
		}
	}
}
