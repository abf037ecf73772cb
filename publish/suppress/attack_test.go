package suppress_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// The attacker sees every published state, after every single entry of the
// ledger, knows all rows of units that are not hidden, and that votes,
// undervotes and overvotes add up to the ballots. What he does not know are the
// cells of hidden units' statements, each an unknown of its own. He succeeds if
// there is any linear combination of what he sees that is about one unit alone,
// whatever cells and revisions of it: a cell, a sum of cells, what a revision
// changed. Shares of a group that all voted alike are outside; see the README.

// night is an election and the order in which units send.
type night struct {
	e     *schemas.Election
	sends []schemas.UnitIndex
}

// rule is a way to publish: it is told the statements in their order and shows
// the county's row behind each of them.
type rule func(e *schemas.Election) func(u schemas.UnitIndex, revision int, cells []schemas.Count) []int64

// real is the rule of this package, as publish uses it.
func real(e *schemas.Election) func(schemas.UnitIndex, int, []schemas.Count) []int64 {
	book, open := suppress.NewBook(e), make([]int64, e.Counties[0].Cells)
	before := map[schemas.UnitIndex][]schemas.Count{}
	return func(u schemas.UnitIndex, revision int, cells []schemas.Count) []int64 {
		if e.RemainderOf(u) < 0 {
			e.Fold(open, u, before[u], cells)
			before[u] = slices.Clone(cells)
		} else if _, err := book.Count(suppress.Statement{Unit: u, Revision: schemas.Revision(revision), Seq: 1}, cells); err != nil {
			panic(err)
		}
		row := slices.Clone(open)
		for i := range e.Remainders {
			if t := book.Last(i); t != nil {
				for k, n := range t.Row {
					row[k] += n
				}
			}
		}
		return row
	}
}

// oneByOne is the rule with a hole: what comes in after a remainder's first
// taking is let through at once.
func oneByOne(e *schemas.Election) func(schemas.UnitIndex, int, []schemas.Count) []int64 {
	latest := map[schemas.UnitIndex][]schemas.Count{}
	return func(u schemas.UnitIndex, _ int, cells []schemas.Count) []int64 {
		latest[u] = slices.Clone(cells)
		row := make([]int64, e.Counties[0].Cells)
		for i := range e.Remainders {
			sum, all := make([]int64, len(row)), true
			for _, u := range e.Remainders[i].Units {
				if all = all && latest[u] != nil; all {
					e.Fold(sum, u, nil, latest[u])
				}
			}
			if all {
				suppress.Show(e, &e.Remainders[i], sum)
				for k, n := range sum {
					row[k] += n
				}
			}
		}
		return row
	}
}

// solvable returns the units of which the attacker finds something out.
func (n *night) solvable(rule rule) (found []schemas.UnitID) {
	// The columns: cells of hidden statements.
	first := make([]int, len(n.sends))
	columns := 0
	for i, u := range n.sends {
		first[i] = columns
		if n.e.RemainderOf(u) >= 0 {
			columns += n.e.Units[u].Style.Cells
		}
	}
	base := n.view(rule, -1, 0)
	equations := make([][]uint64, len(base))
	for i := range equations {
		equations[i] = make([]uint64, columns)
	}
	owner := make([]schemas.UnitIndex, columns)
	for i, u := range n.sends {
		if n.e.RemainderOf(u) < 0 {
			continue
		}
		for k := range n.e.Units[u].Style.Cells {
			owner[first[i]+k] = u
			for row, v := range n.view(rule, i, k) { // what one vote more moves
				equations[row][first[i]+k] = uint64(v - base[row])
			}
		}
	}
	own := map[schemas.UnitIndex]int{} // what everybody knows of a unit: that its numbers add up
	for i, u := range n.sends {
		if n.e.RemainderOf(u) < 0 {
			continue
		}
		known := n.identities(u, first[i], columns)
		own[u] += len(known)
		equations = append(equations, known...)
	}
	all := rank(equations, nil)
	for u, known := range own {
		others := rank(equations, func(c int) bool { return owner[c] != u })
		if all-others > known {
			found = append(found, n.e.Units[u].ID)
		}
	}
	slices.Sort(found)
	return found
}

// view is everything that is published in the night, where statement i has one
// more in cell k.
func (n *night) view(rule rule, i, k int) (out []int64) {
	publish := rule(n.e)
	revisions := map[schemas.UnitIndex]int{}
	for j, u := range n.sends {
		cells := make([]schemas.Count, n.e.Units[u].Style.Cells)
		for c := range cells {
			cells[c] = 100
		}
		if j == i {
			cells[k]++
		}
		revisions[u]++
		out = append(out, publish(u, revisions[u], cells)...)
	}
	return out
}

// identities of one statement: votes, undervotes and overvotes against ballots.
func (n *night) identities(u schemas.UnitIndex, first, columns int) (out [][]uint64) {
	for _, s := range n.e.Units[u].Style.Sections {
		if !s.Residuals {
			continue
		}
		row := make([]uint64, columns)
		for k := 1; k < s.Size(n.e.Types()); k++ {
			row[first+int(s.Offset)+k] = 1
		}
		row[first+1] = prime - uint64(n.e.Definition.Contests[s.Contest].VotesAllowed)
		out = append(out, row)
	}
	return out
}

const prime = 1<<31 - 1

// rank is that of the columns of a matrix that keep says, modulo prime.
func rank(rows [][]uint64, keep func(int) bool) (r int) {
	var basis [][]uint64
	var pivots []int
	for _, row := range rows {
		row = slices.Clone(row)
		for c := range row {
			if row[c] %= prime; keep != nil && !keep(c) {
				row[c] = 0
			}
		}
		for i, b := range basis {
			if f := row[pivots[i]]; f != 0 {
				for c := range row {
					row[c] = (row[c] + (prime-f)*b[c]) % prime
				}
			}
		}
		p := slices.IndexFunc(row, func(v uint64) bool { return v != 0 })
		if p < 0 {
			continue
		}
		inverse := power(row[p], prime-2)
		for c := range row {
			row[c] = row[c] * inverse % prime
		}
		basis, pivots = append(basis, row), append(pivots, p)
	}
	return len(basis)
}

func power(x, n uint64) uint64 {
	out := uint64(1)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			out = out * x % prime
		}
		x = x * x % prime
	}
	return out
}

// nights draws elections of one county: units of any size, ballot styles that
// overlap, contests with and without residuals; and any order of statements.
func nights(t *rapid.T) *night {
	d := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "test-2028", Date: "2028-11-07", Origin: "example.org/test",
		CountTypes: []schemas.CountType{schemas.ElectionDay}, Partitions: 1, Signatures: 1,
		Rules:    schemas.Rules{Ballots: true, Registered: true, Suppression: &schemas.SuppressionRule{Below: 20}},
		States:   []schemas.State{{ID: "north", Name: "North"}},
		Counties: []schemas.County{{ID: "oak", Name: "Oak", State: "north"}},
	}
	contests := rapid.IntRange(1, 3).Draw(t, "contests")
	for i := range contests {
		d.Contests = append(d.Contests, schemas.Contest{
			ID: schemas.ContestID(fmt.Sprint("c", i)), Kind: schemas.CandidateContest, VotesAllowed: 1 + i%2,
			Residuals:  rapid.SampledFrom([]schemas.Residuals{schemas.ResidualsByType, schemas.ResidualsNone}).Draw(t, "residuals"),
			Selections: []schemas.Selection{{ID: "a"}, {ID: "b"}},
		})
	}
	for s := range rapid.IntRange(1, 3).Draw(t, "styles") {
		style := schemas.Style{ID: schemas.StyleID(fmt.Sprint("s", s))}
		for i := range contests {
			if i == 0 || rapid.Bool().Draw(t, "votes") {
				style.Contests = append(style.Contests, d.Contests[i].ID)
			}
		}
		d.Styles = append(d.Styles, style)
	}
	d.Units = append(d.Units, schemas.Unit{ID: "u0", County: "oak", Kind: schemas.PrecinctUnit, Style: "s0", Registered: 500})
	for i := range rapid.IntRange(1, 6).Draw(t, "units") {
		d.Units = append(d.Units, schemas.Unit{
			ID: schemas.UnitID(fmt.Sprint("u", i+1)), County: "oak", Kind: schemas.PrecinctUnit,
			Style:      rapid.SampledFrom(d.Styles).Draw(t, "style").ID,
			Registered: rapid.SampledFrom([]int{0, 3, 12, 19, 20, 100, 500}).Draw(t, "registered"),
		})
	}
	n := &night{e: open(t, d)}
	for range rapid.IntRange(1, 14).Draw(t, "sends") {
		n.sends = append(n.sends, schemas.UnitIndex(rapid.IntRange(0, len(d.Units)-1).Draw(t, "sender")))
	}
	return n
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface{ Fatal(...any) }

func open(t fataler, d *schemas.Definition) *schemas.Election {
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

func TestNothingThatIsPublishedIsAboutOneHiddenUnit(t *testing.T) {
	added := map[int]int{} // never, once, more often
	rapid.Check(t, func(t *rapid.T) {
		n := nights(t)
		if found := n.solvable(real); len(found) > 0 {
			t.Fatalf("the attacker knows something of %s; remainders %+v", found, n.e.Remainders)
		}
		sent := map[schemas.UnitIndex]int{}
		for _, u := range n.sends {
			sent[u]++
		}
		for i := range n.e.Remainders {
			least := len(n.sends)
			for _, u := range n.e.Remainders[i].Units {
				least = min(least, sent[u])
			}
			added[min(least, 2)]++
		}
	})
	if added[0] == 0 || added[1] == 0 || added[2] == 0 {
		t.Errorf("remainders by how often they were added up: %v, want some of each", added)
	}
}

// fixed is a night of three small units, of which the third has another style,
// and two large ones; each sends twice.
func fixed(t *testing.T) *night {
	unit := func(id schemas.UnitID, style schemas.StyleID, registered int) schemas.Unit {
		return schemas.Unit{ID: id, County: "oak", Kind: schemas.PrecinctUnit, Style: style, Registered: registered}
	}
	contest := func(id schemas.ContestID) schemas.Contest {
		return schemas.Contest{ID: id, Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsByType,
			Selections: []schemas.Selection{{ID: "a"}, {ID: "b"}}}
	}
	n := &night{e: open(t, &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "test-2028", Date: "2028-11-07", Origin: "example.org/test",
		CountTypes: []schemas.CountType{schemas.ElectionDay}, Partitions: 1, Signatures: 1,
		Rules:    schemas.Rules{Ballots: true, Registered: true, Suppression: &schemas.SuppressionRule{Below: 20}},
		States:   []schemas.State{{ID: "north", Name: "North"}},
		Counties: []schemas.County{{ID: "oak", Name: "Oak", State: "north"}},
		Contests: []schemas.Contest{contest("all"), contest("some")},
		Styles:   []schemas.Style{{ID: "both", Contests: []schemas.ContestID{"all", "some"}}, {ID: "one", Contests: []schemas.ContestID{"all"}}},
		Units:    []schemas.Unit{unit("a", "both", 5), unit("b", "both", 6), unit("c", "one", 7), unit("d", "both", 300), unit("e", "both", 400)},
	})}
	for range 2 {
		for u := range n.e.Units {
			n.sends = append(n.sends, schemas.UnitIndex(u))
		}
	}
	return n
}

// TestTheAttackerBreaksWeakerRules: the attack is one that works.
func TestTheAttackerBreaksWeakerRules(t *testing.T) {
	alone := func(n *night) { // no complement: the others are left out of it
		r := &n.e.Remainders[0]
		n.sends = slices.DeleteFunc(n.sends, func(u schemas.UnitIndex) bool { return u != r.Units[0] && r.Has(u) })
		r.Units = r.Units[:1]
	}
	for _, weak := range []struct {
		name   string
		rule   rule
		change func(*night)
	}{
		{"a small unit by itself", real, alone},
		{"revisions let through one by one", oneByOne, func(*night) {}},
		{"residuals where a style is alone", real, func(n *night) {
			for i := range n.e.Remainders[0].Sections {
				n.e.Remainders[0].Sections[i].Residuals = true
			}
		}},
	} {
		n := fixed(t)
		if found := n.solvable(real); len(found) > 0 {
			t.Fatalf("the rule itself: he knows something of %s", found)
		}
		if weak.change(n); len(n.solvable(weak.rule)) == 0 {
			t.Errorf("%s: the attacker found nothing", weak.name)
		}
	}
}

// TestWhatOneUnitAloneVotesOnIsNotShown, and is what the attacker would find.
func TestWhatOneUnitAloneVotesOnIsNotShown(t *testing.T) {
	n := fixed(t)
	d := *n.e.Definition
	d.Units = []schemas.Unit{d.Units[0], d.Units[2]} // one of each style
	d.Units[1].Registered = 300
	n = &night{open(t, &d), []schemas.UnitIndex{0, 1}}
	r := &n.e.Remainders[0]
	if some := r.Sections[2]; len(r.Units) != 2 || some.Shown || some.Voting != 1 || !r.Sections[1].Shown {
		t.Fatalf("remainder %+v", r)
	}
	if found := n.solvable(real); len(found) > 0 {
		t.Errorf("he knows something of %s", found)
	}
	r.Sections[2].Shown = true
	if len(n.solvable(real)) == 0 {
		t.Error("shown all the same, he found nothing")
	}
}
