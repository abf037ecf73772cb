package timeseries

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tallystream/schemas"
)

// TestOrderWithinARoundMakesNoDifference: statements of a round may overtake each
// other, and the same ones are held as in the order of the source.
func TestOrderWithinARoundMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &schemas.Election{Units: make([]schemas.UnitPlace, 6)}
		for u := range e.Units {
			e.Units[u].County = schemas.CountyIndex(u / 4) // four of one, two of another
		}
		inOrder, overtaken := newCount(e), newCount(e)
		cuts := newRounds(e)
		for m := range rapid.IntRange(1, 6).Draw(t, "moments") {
			var all []Statement
			for _, u := range rapid.Permutation([]schemas.UnitIndex{0, 1, 2, 3, 4, 5}).Draw(t, "units")[:rapid.IntRange(1, 6).Draw(t, "of them")] {
				row := []schemas.Count{1, 1, schemas.Count(rapid.IntRange(0, 2).Draw(t, "a")), schemas.Count(rapid.IntRange(0, 1).Draw(t, "b"))}
				all = append(all, Statement{Unit: u, Revision: schemas.Revision(m + 1), Cells: row})
			}
			for i := range all {
				inOrder.take(&all[i])
			}
			n := 0
			for _, round := range cuts.cut(all) {
				n += len(round)
				round = rapid.Permutation(round).Draw(t, "as they arrive")
				for i := range round {
					overtaken.take(&round[i])
				}
			}
			if n != len(all) {
				t.Fatalf("%d statements in the rounds of %d", n, len(all))
			}
		}
		if !maps.Equal(inOrder.held, overtaken.held) {
			t.Fatalf("in order %v are held, as they arrive %v", inOrder.held, overtaken.held)
		}
	})
}

// count holds what is lower than before and what another unit of the county has.
type count struct {
	election *schemas.Election
	counted  [][]schemas.Count
	held     map[[2]uint64]schemas.HoldCode // by unit and revision
}

func newCount(e *schemas.Election) *count {
	return &count{election: e, counted: make([][]schemas.Count, len(e.Units)), held: map[[2]uint64]schemas.HoldCode{}}
}

func (c *count) take(st *Statement) {
	key := [2]uint64{uint64(st.Unit), uint64(st.Revision)}
	for i, n := range c.counted[st.Unit] {
		if st.Cells[i] < n {
			c.held[key] = schemas.HoldLowered
			return
		}
	}
	for u, row := range c.counted {
		same := schemas.UnitIndex(u) != st.Unit && c.election.Units[u].County == c.election.Units[st.Unit].County
		if same && votes(st.Cells) > 0 && slices.Equal(row, st.Cells) {
			c.held[key] = schemas.HoldTwin
			return
		}
	}
	c.counted[st.Unit] = st.Cells
}
