package timeseries

import (
	"tallystream/schemas"
)

// rounds cuts a moment where order could make a difference: what is sent before
// and after such a cut waits for each other's receipts, everything between two
// cuts may arrive in any order. Only the rule of twins looks at other units, so
// two statements may not overtake each other exactly if one states what the
// other does, or ever did.
type rounds struct {
	election *schemas.Election
	stated   map[statedRow][]schemas.UnitIndex // who ever stated a row
}

// statedRow is a row with votes in it, within its county.
type statedRow struct {
	county schemas.CountyIndex
	cells  string
}

func newRounds(e *schemas.Election) *rounds {
	return &rounds{election: e, stated: map[statedRow][]schemas.UnitIndex{}}
}

// cut returns the statements of a moment, round by round, in their order.
func (r *rounds) cut(all []Statement) [][]Statement {
	var out [][]Statement
	begin := 0
	inRound := map[schemas.UnitIndex]bool{}
	concerned := map[schemas.UnitIndex]bool{} // who once stated what the round states
	for i := range all {
		st := &all[i]
		row := statedRow{r.election.Units[st.Unit].County, string(schemas.AppendCells(nil, st.Cells))}
		meets := concerned[st.Unit]
		for _, u := range r.stated[row] {
			meets = meets || inRound[u]
		}
		if meets {
			out = append(out, all[begin:i])
			begin = i
			clear(inRound)
			clear(concerned)
		}
		inRound[st.Unit] = true
		if votes(st.Cells) == 0 {
			continue // too few for any rule of twins
		}
		for _, u := range r.stated[row] {
			concerned[u] = true
		}
		r.stated[row] = append(r.stated[row], st.Unit)
	}
	return append(out, all[begin:])
}
