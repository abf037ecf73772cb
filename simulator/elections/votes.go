package elections

import (
	"math"

	"tallystream/schemas"
)

// Shares are fractions of one in 16 bits.
const one = 1 << 16

// meanTurnout is the mean share of registered voters who cast a ballot.
const meanTurnout = 0.66

// maxCandidates bounds the selections of a generated contest, so that a shape
// is 32 bytes: two fill a cache line.
const maxCandidates = 8

// shape is what the votes of a contest are drawn from.
type shape struct {
	// share of the votes left after residuals, by selection. That of rest is
	// ignored: it takes what the others leave, so that votes add up.
	share       [maxCandidates]uint16
	under, over uint16 // shares of ballots x votes allowed
	pull        uint16 // how much of the unit's lean moves first's share
	noise       uint16 // how much a unit's taste in this contest varies
	allowed     uint8
	rest, first uint8
}

// countyShape is what the ballots of a county's units are drawn from.
type countyShape struct {
	lean    float32 // Democratic minus Republican share
	turnout float32
	split   [types]float32 // of ballots by count type
}

func newCountyShape(d *Draw, lean float64) countyShape {
	c := countyShape{lean: float32(min(max(lean, -0.9), 0.9)), turnout: float32(meanTurnout * d.Between(0.9, 1.1))}
	split := [types]float64{d.Between(0.2, 0.45), d.Between(0.25, 0.5), d.Between(0.1, 0.4), 0.01}
	sum := split[0] + split[1] + split[2] + split[3]
	for t := range split {
		c.split[t] = float32(split[t] / sum)
	}
	return c
}

// typeLean is how much more Democratic the ballots of a count type are.
var typeLean = [types]float64{0.02, -0.08, 0.1, 0.06}

func newShape(d *Draw, c *schemas.Contest, f form) shape {
	n := len(c.Selections)
	s := shape{
		under: fraction(f.under * d.Between(0.6, 1.4)), over: fraction(0.0012 * d.Between(0.3, 1.7)),
		noise: fraction(0.05), allowed: uint8(c.VotesAllowed), rest: uint8(min(1, n-1)),
	}
	// The last selections are small: write-ins least, then small parties.
	left := 1.0
	small := func(k int, share float64) { s.share[k] = fraction(share); left -= share }
	last := n
	if f.writeIn {
		last--
		small(last, d.Between(0.002, 0.006))
	}
	if c.Kind == schemas.CandidateContest && c.VotesAllowed > 1 {
		// Several seats: everyone gets about the same, and nobody more than
		// one vote of each ballot.
		for k := range last {
			s.share[k] = fraction(left / float64(last) * d.Between(0.8, 1.1))
		}
		return s
	}
	for k := last - 1; k >= 2; k-- {
		small(k, d.Between(0.004, 0.02))
	}
	switch {
	case last < 2: // unopposed: the candidate takes what write-ins leave
		s.rest = 0
	case f.party:
		s.share[0], s.pull = fraction(left*d.Between(0.47, 0.53)), fraction(left/2*d.Between(0.8, 0.99))
	default:
		s.share[0], s.pull = fraction(left*d.Between(0.3, 0.7)), fraction(0.1*d.Unit())
	}
	return s
}

func fraction(x float64) uint16 { return uint16(min(max(x, 0), 1) * (one - 1)) }

// Cells implements Truth. It draws a unit's row from (seed, unit) alone. For
// each contest and count type,
//
//	votes + undervotes + overvotes = ballots x votes allowed
//
// by construction, no selection has more votes than there are ballots, and
// ballots never exceed registered voters.
func (g *Generated) Cells(u schemas.UnitIndex, dst []schemas.Count) []schemas.Count {
	place := &g.election.Units[u]
	dst = Row(dst, place.Style.Cells)
	d := DrawOf(g.seed, drawVotes, uint64(u))
	county := &g.counties[place.County]
	ballots := ballotsOf(&d, county, place.Registered)
	dst[0] = 1
	for t, n := range ballots {
		dst[1+t] = schemas.Count(n)
	}
	lean := leansOf(&d, county)
	sections := place.Style.Sections
	for i := 1; i < len(sections); i++ {
		s := &sections[i]
		g.shapes[s.Contest].votes(&d, &ballots, &lean, dst[s.Offset:][:s.Size(types)])
	}
	return dst
}

// ballotsOf draws how many ballots a unit has of each count type.
func ballotsOf(d *Draw, c *countyShape, registered int) [types]uint64 {
	turnout := min(max(float64(c.turnout)+0.07*d.Normal(), 0.05), 0.97)
	cast := turnout * float64(registered)
	left := uint64(cast)
	var ballots [types]uint64
	for t := range ballots {
		n := uint64(cast*float64(c.split[t])*d.Between(0.75, 1.25) + d.Unit())
		n = min(n, left)
		ballots[t], left = n, left-n
	}
	return ballots
}

// leansOf draws how a unit leans, by count type, in 1/65536.
func leansOf(d *Draw, c *countyShape) [types]int64 {
	unit := float64(c.lean) + 0.12*d.Normal()
	var lean [types]int64
	for t := range lean {
		lean[t] = int64(math.Round(min(max(unit+typeLean[t], -0.96), 0.96) * one))
	}
	return lean
}

// share16 is a share of n, rounded up or down at random so that the mean is
// exact: without this, small units would never have a rare vote.
func share16(n, share, random uint64) uint64 { return (n*share + random&(one-1)) >> 16 }

// votes fills the cells of one contest.
func (s *shape) votes(d *Draw, ballots *[types]uint64, lean *[types]int64, cells []schemas.Count) {
	n := len(cells)/types - 2 // selections
	cells[0] = 1
	cells = cells[1:]
	under, over := cells[n*types:][:types], cells[(n+1)*types:][:types]
	var left, first [types]uint64
	taste := d.Next()
	shift := (int64(taste&(one-1)) - one/2) * int64(s.noise) >> 16
	missing := uint64(s.under) * (one*3/4 + taste>>16&(one/2-1)) >> 16
	r, q := d.Next(), d.Next()
	for t := range left {
		room := ballots[t] * uint64(s.allowed)
		spoiled := min(share16(ballots[t], uint64(s.over), r>>(16*t)), ballots[t]) * uint64(s.allowed)
		blank := share16(room-spoiled, missing, q>>(16*t))
		over[t], under[t] = schemas.Count(spoiled), schemas.Count(blank)
		left[t] = room - spoiled - blank
		first[t] = s.firstShare(lean[t], shift)
	}
	counted := left
	for k := range n {
		if k == int(s.rest) {
			continue
		}
		r := d.Next()
		row := cells[k*types:][:types]
		for t := range left {
			share := uint64(s.share[k])
			if k == int(s.first) {
				share = first[t]
			}
			v := min(share16(counted[t], share, r>>(16*t)), left[t], ballots[t])
			row[t] = schemas.Count(v)
			left[t] -= v
		}
	}
	rest := cells[int(s.rest)*types:][:types]
	for t := range left {
		v := min(left[t], ballots[t])
		rest[t] = schemas.Count(v)
		under[t] += schemas.Count(left[t] - v)
	}
}

// firstShare is the share of the first selection in a unit that leans so.
func (s *shape) firstShare(lean, shift int64) uint64 {
	x := int64(s.share[0]) + shift + lean*int64(s.pull)>>16
	return uint64(min(max(x, one/64), one-one/64))
}
