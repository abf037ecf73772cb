package openelections

import (
	"cmp"
	"slices"
	"strings"

	"tallystream/schemas"
)

// merge finds the selections of a contest: it takes spellings of one
// candidate for one.
//
// Spellings that one unit states side by side are different candidates; so
// are, unless they differ in nothing but case, spaces, punctuation and the
// party's code, those that one county uses. A candidate on two party lines
// stays two selections.
func (c *contests) merge(x *contest) {
	m := merger{contest: x, t: c.t, beside: map[[2]*spelling]bool{}}
	for _, list := range x.units {
		for i, a := range list {
			for _, b := range list[i+1:] {
				m.beside[pairOf(a, b)] = true
			}
		}
	}
	for _, s := range x.labels {
		s.class = []*spelling{s}
	}
	measure := kindOf(&x.office, plainSelections(x.labels)) != schemas.CandidateContest
	m.equal(func(s *spelling) string {
		if measure && answer(s.name) != "" {
			return answer(s.name)
		}
		return party(s) + "\n" + nameKey(s)
	}, m.neverBeside)
	m.equal(func(s *spelling) string { return party(s) + "\n" + key(leading(s.name)) }, m.apart)
	m.equal(func(s *spelling) string { return party(s) + "\n" + wordsOf(leading(s.name)) }, m.apart)
	m.similar(sameParty, func(a, b string) bool {
		return len(a) >= 6 && len(b) >= 6 && withinEdits(a, b, 1+min(len(a), len(b))/10)
	})
	m.similar(oneWithoutParty, func(a, b string) bool { return a == b })
	c.choose(x, measure)
}

// merger merges the spellings of one contest.
type merger struct {
	*contest
	t      *table
	beside map[[2]*spelling]bool // pairs that a unit states
}

func pairOf(a, b *spelling) [2]*spelling {
	if a.at > b.at {
		a, b = b, a
	}
	return [2]*spelling{a, b}
}

// neverBeside allows two classes to merge if no unit states both.
func (m *merger) neverBeside(a, b *spelling) bool {
	for _, s := range a.class {
		for _, t := range b.class {
			if m.beside[pairOf(s, t)] {
				return false
			}
		}
	}
	return true
}

// apart allows two classes to merge if no county uses both.
func (m *merger) apart(a, b *spelling) bool {
	for _, s := range a.class {
		for _, t := range b.class {
			for _, county := range s.counties {
				if slices.Contains(t.counties, county) {
					return false
				}
			}
		}
	}
	return true
}

// heads are the classes, those of most counties first.
func (m *merger) heads() []*spelling {
	var out []*spelling
	for _, s := range m.labels {
		if s.parent == nil {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b *spelling) int {
		return cmp.Or(cmp.Compare(b.spread(), a.spread()), cmp.Compare(b.votes, a.votes))
	})
	return out
}

// spread is how many counties use a class.
func (s *spelling) spread() int {
	n := 0
	for _, x := range s.class {
		n += len(x.counties)
	}
	return n
}

func into(head, s *spelling) {
	s.parent = head
	head.class = append(head.class, s.class...)
	s.class = nil
}

// equal merges classes whose keys are equal, where that is allowed.
func (m *merger) equal(keyOf func(*spelling) string, allowed func(a, b *spelling) bool) {
	heads := map[string][]*spelling{}
	for _, s := range m.heads() {
		k := keyOf(s)
		merged := false
		for _, h := range heads[k] {
			if allowed(h, s) {
				into(h, s)
				merged = true
				break
			}
		}
		if !merged {
			heads[k] = append(heads[k], s)
		}
	}
}

// similar merges classes that are alike, and those that are like them in
// turn, unless one county uses two of these: then it could be either, and a
// guess must not move votes.
func (m *merger) similar(parties, names func(a, b string) bool) {
	var rest []*spelling
	for _, s := range m.heads() {
		if ordinary(s) {
			rest = append(rest, s)
		}
	}
	alike := func(a, b *spelling) bool {
		return parties(party(a), party(b)) && names(key(leading(a.name)), key(leading(b.name)))
	}
	for len(rest) > 0 {
		kin := rest[:1:1]
		rest = rest[1:]
		for i := 0; i < len(kin); i++ {
			rest = slices.DeleteFunc(rest, func(s *spelling) bool {
				if alike(kin[i], s) {
					kin = append(kin, s)
					return true
				}
				return false
			})
		}
		m.unite(kin)
	}
}

// unite merges classes into the first if no county uses two of them, and no
// two are of different parties.
func (m *merger) unite(kin []*spelling) {
	apart := 0
	for i, a := range kin {
		for _, b := range kin[i+1:] {
			if m.apart(a, b) && (sameParty(party(a), party(b)) || oneWithoutParty(party(a), party(b))) {
				apart++
			}
		}
	}
	switch pairs := len(kin) * (len(kin) - 1) / 2; {
	case apart == pairs:
		for _, s := range kin[1:] {
			into(kin[0], s)
		}
	case apart > 0:
		names := make([]string, len(kin))
		for i, s := range kin {
			names[i] = s.label.name
		}
		m.t.add(Alike, "", 0, "contest %s: %s are alike, but counties use more than one of them; they are kept apart", m.id, strings.Join(names, ", "))
	}
}

func sameParty(a, b string) bool       { return a == b }
func oneWithoutParty(a, b string) bool { return (a == "") != (b == "") }

// ordinary spellings are those of candidates.
func ordinary(s *spelling) bool {
	return answer(s.name) == "" && !writeIn(s.name) && residualOf(s.label) == notResidual
}

// party is the key of a spelling's party. Non-partisan, write-ins and
// residuals have none.
func party(s *spelling) string {
	if k := partyKey(s.party); k != "non" && (ordinary(s) || answer(s.name) != "") {
		return k
	}
	return ""
}

func nameKey(s *spelling) string {
	switch k := key(s.name); {
	case k == "writein" || k == "writeins" || k == "writeinvotes" || k == "writeintotals" || k == "writeinstotal" || k == "totalwriteins":
		return "writein"
	case residualOf(s.label) == overvote:
		return "overvotes"
	case residualOf(s.label) == undervote:
		return "undervotes"
	default:
		return k
	}
}

// plainSelections looks at each spelling as a selection.
func plainSelections(labels []*spelling) []selection {
	out := make([]selection, len(labels))
	for i, s := range labels {
		out[i] = selection{answer: answer(s.name), writeIn: writeIn(s.name), residual: residualOf(s.label)}
	}
	return out
}

// choose makes the selections of a contest out of its classes, in the order
// of their first appearance; yes stands before no, write-ins stand last.
func (c *contests) choose(x *contest, measure bool) {
	for _, s := range x.labels {
		head := s.root()
		if slices.ContainsFunc(x.selections, func(sel selection) bool { return sel.labels[0] == head }) {
			continue
		}
		x.selections = append(x.selections, c.selectionOf(head, measure))
	}
	slices.SortStableFunc(x.selections, func(a, b selection) int { return cmp.Compare(a.order(), b.order()) })
	names := namer{string(schemas.Overvotes): 1, string(schemas.Undervotes): 1}
	taken := map[string]int{}
	for i := range x.selections {
		taken[x.selections[i].plainID()]++
	}
	for i := range x.selections {
		sel := &x.selections[i]
		id := sel.plainID()
		if taken[id] > 1 && slug(sel.party) != "" {
			id += "-" + identifier(sel.party, "party", 16)
		}
		sel.id = schemas.SelectionID(names.take(id))
	}
	x.kind = kindOf(&x.office, x.selections)
	c.reportMerged(x)
}

func (s *selection) order() int {
	switch {
	case s.residual == overvote:
		return 5
	case s.residual == undervote:
		return 4
	case s.writeIn:
		return 3
	case s.answer == "no":
		return 2
	case s.answer == "yes":
		return 1
	}
	return 0
}

func (s *selection) plainID() string {
	switch {
	case s.residual == overvote:
		return "over-votes"
	case s.residual == undervote:
		return "under-votes"
	case s.answer != "":
		return s.answer
	case nameKey(s.labels[0]) == "writein":
		return "write-in"
	}
	return identifier(leading(s.name), "selection", schemas.MaxIdentifier-24)
}

// selectionOf names a class as most counties do.
func (c *contests) selectionOf(head *spelling, measure bool) selection {
	best := head.class[0]
	for _, s := range head.class[1:] {
		if d := cmp.Or(cmp.Compare(len(s.counties), len(best.counties)), cmp.Compare(s.votes, best.votes)); d > 0 {
			best = s
		}
	}
	sel := selection{name: best.name, writeIn: writeIn(best.name), residual: residualOf(best.label), labels: head.class}
	if p := party(best); p != "" {
		sel.party = best.party
	}
	if measure {
		sel.answer = answer(best.name)
	}
	return sel
}

// reportMerged tells which spellings were taken for one.
func (c *contests) reportMerged(x *contest) {
	for i := range x.selections {
		sel := &x.selections[i]
		if len(sel.labels) == 1 {
			continue
		}
		spelled := make([]string, 0, len(sel.labels))
		for _, s := range sel.labels {
			text := `"` + s.label.name + `"`
			if s.party != "" {
				text += " (" + s.party + ")"
			}
			spelled = append(spelled, text)
		}
		slices.Sort(spelled)
		c.t.add(Merged, "", 0, "contest %s: %s is spelled %s", x.id, sel.name, strings.Join(spelled, ", "))
	}
}
