package script

import (
	"time"

	"tallystream/simulator/elections"
)

// DefaultSpan is the length of a night when Config does not say.
const DefaultSpan = 12 * time.Hour

// curve gives when a share of units has reported, in equal steps of the
// share from 0 to 1, as fractions of the night.
type curve []float64

// at is when share p of units has reported.
func (c curve) at(p float64) float64 {
	x := p * float64(len(c)-1)
	i := min(int(x), len(c)-2)
	return c[i] + (c[i+1]-c[i])*(x-float64(i))
}

// The shapes of the arrival of counts by phase.
var shapes = [phases]curve{
	beforeDay: {0.005, 0.03, 0.06, 0.12, 0.30},
	onDay:     {0.02, 0.08, 0.14, 0.24, 0.55},
	afterDay:  {0.10, 0.20, 0.33, 0.55, 0.95},
	lastly:    {0.40, 0.60, 0.75, 0.88, 1.00},
}

// curves are the shapes stretched over a night.
type curves struct{ span time.Duration }

func newCurves(span time.Duration) curves { return curves{span} }

// draw draws when a unit's counts of each phase are known. A unit that is
// early with one tends to be early with the next; no phase comes before the
// one before it.
func (c curves) draw(d *elections.Draw) [phases]time.Duration {
	var out [phases]time.Duration
	before := time.Duration(0)
	own := d.Unit()
	for p := range out {
		share := (own + d.Unit()) / 2
		out[p] = max(before, time.Duration(shapes[p].at(share)*float64(c.span)))
		before = out[p]
	}
	return out
}
