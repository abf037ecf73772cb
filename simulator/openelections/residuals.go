package openelections

import (
	"fmt"
	"slices"

	"tallystream/schemas"
)

// spread fills dst, one number a count type, with the counts of a row: what
// its count types do not account for is counted as other.
func (b *build) spread(r *row, dst []int64) {
	clear(dst)
	if r.splits < 0 {
		if r.votes > 0 {
			dst[b.typeAt[schemas.OtherCounts]] = int64(r.votes)
		}
		return
	}
	left := int64(r.votes)
	for i, c := range b.t.files[r.file].counts {
		n := int64(b.t.splits[int(r.splits)+i])
		dst[b.typeAt[c.countType]] += n
		left -= n
	}
	if left > 0 {
		dst[b.typeAt[schemas.OtherCounts]] += left
	}
}

// findTypes lists the count types that the election has: those of the
// columns, and other if some votes have no type.
func (b *build) findTypes() {
	seen := map[schemas.CountType]bool{}
	for _, f := range b.t.files {
		for _, c := range f.counts {
			seen[c.countType] = true
		}
	}
	for i := range b.t.rows {
		r := &b.t.rows[i]
		if r.role == registeredRow || seen[schemas.OtherCounts] {
			continue
		}
		left := int64(r.votes)
		if r.splits >= 0 {
			for k := range b.t.files[r.file].counts {
				left -= int64(b.t.splits[int(r.splits)+k])
			}
		}
		if left > 0 {
			seen[schemas.OtherCounts] = true
		}
	}
	for t := range seen {
		b.types = append(b.types, t)
	}
	if len(b.types) == 0 {
		b.types = []schemas.CountType{schemas.OtherCounts}
	}
	orderCountTypes(b.types)
	b.typeAt = map[schemas.CountType]int{}
	for i, t := range b.types {
		b.typeAt[t] = i
	}
}

// findRules sees whether the facts that the election's rules need are known
// of every precinct.
func (b *build) findRules() {
	b.ballots, b.registered = make([][]int64, len(b.t.units)), make([]int64, len(b.t.units))
	for i := range b.registered {
		b.registered[i] = -1
	}
	for i := range b.t.rows {
		r := &b.t.rows[i]
		switch r.role {
		case ballotsRow:
			if b.ballots[r.unit] == nil {
				b.ballots[r.unit] = make([]int64, len(b.types))
			}
			b.addCounts(r, b.ballots[r.unit])
		case registeredRow:
			b.registered[r.unit] = max(b.registered[r.unit], 0) + int64(r.votes)
		}
	}
	places, ballots, registered := 0, 0, 0
	for u := range b.t.units {
		if b.administrative[u] {
			continue
		}
		places++
		if b.ballots[u] != nil {
			ballots++
		}
		if b.registered[u] >= 0 {
			registered++
		}
	}
	b.rules = schemas.Rules{Ballots: places > 0 && ballots == places}
	b.rules.Registered = b.rules.Ballots && registered == places
	if ballots < places {
		b.t.add(BallotsCast, "", 0, "ballots cast are known of %s precincts: votes cannot be held against ballots%s", some(ballots, places), leftOut(ballots))
	}
	if registered < places {
		b.t.add(Registered, "", 0, "registered voters are known of %s precincts: ballots cannot be held against them%s", some(registered, places), leftOut(registered))
	}
	b.checkRegistered()
}

func some(known, all int) string {
	if known == 0 {
		return "no"
	}
	return fmt.Sprintf("%d of %d", known, all)
}

func leftOut(known int) string {
	if known == 0 {
		return ""
	}
	return "; the rows that state them are left out"
}

// checkRegistered forgets registered voters where there are more ballots: the
// rule would hold results that the source gives as final.
func (b *build) checkRegistered() {
	if !b.rules.Registered {
		return
	}
	for u, registered := range b.registered {
		cast := int64(0)
		for _, n := range b.ballots[u] {
			cast += n
		}
		if registered > 0 && cast > registered {
			b.t.add(Registered, "", 0, "%s, precinct %s: %d ballots cast by %d registered voters; the rule does not apply to this precinct",
				b.t.counties[b.t.units[u].county].name, b.t.units[u].name, cast, registered)
			b.registered[u] = 0
		}
	}
}

// addCounts adds a row's counts to dst.
func (b *build) addCounts(r *row, dst []int64) {
	b.spread(r, b.counts)
	for i, n := range b.counts {
		dst[i] += n
	}
}

// place is a contest in a unit.
type place struct {
	contest *contest
	unit    int32
}

// findResiduals finds for each contest which form of the identity
//
//	votes + undervotes + overvotes = ballots x votes allowed
//
// holds in every unit, and how many votes that allows.
func (b *build) findResiduals() {
	sums := map[place][]int64{}
	for i := range b.t.rows {
		r := &b.t.rows[i]
		if x := b.contests.of[countyContest{b.t.units[r.unit].county, r.title}]; x != nil && r.role <= undervotesRow {
			at := place{x, r.unit}
			if sums[at] == nil {
				sums[at] = make([]int64, len(b.types))
			}
			b.addCounts(r, sums[at])
		}
	}
	for _, x := range b.contests.list {
		x.allowed, x.residuals = 1, schemas.ResidualsNone
		stated := slices.ContainsFunc(x.selections, func(s selection) bool { return s.residual != notResidual })
		if !stated {
			continue
		}
		if b.rules.Ballots {
			x.allowed, x.residuals = b.identity(x, sums)
		}
		if x.residuals == schemas.ResidualsNone {
			b.t.add(Residuals, "", 0, "contest %s: votes, under- and overvotes are not ballots cast x votes allowed in every unit; over- and undervotes are kept as selections", x.id)
		}
	}
}

// identity tries a contest's sums against the ballots of its units.
func (b *build) identity(x *contest, sums map[place][]int64) (int, schemas.Residuals) {
	allowed, byType := int64(-1), true // -1: no unit told yet
	for u := range x.units {
		sum, ballots := sums[place{x, u}], b.ballots[u]
		if ballots == nil {
			ballots = make([]int64, len(b.types))
		}
		votes, cast := int64(0), int64(0)
		for t := range sum {
			votes, cast = votes+sum[t], cast+ballots[t]
		}
		if cast == 0 && votes == 0 {
			continue
		}
		if cast == 0 || votes%cast != 0 || (allowed >= 0 && votes/cast != allowed) {
			return 1, schemas.ResidualsNone
		}
		allowed = votes / cast
		for t := range sum {
			byType = byType && sum[t] == allowed*ballots[t]
		}
	}
	switch {
	case allowed < 1 || allowed > schemas.MaxAllowed:
		return 1, schemas.ResidualsNone
	case byType:
		return int(allowed), schemas.ResidualsByType
	}
	return int(allowed), schemas.ResidualsTotal
}
