package script

import (
	"time"

	"tallystream/simulator/elections"
)

// DefaultSpan is the length of a night when Config does not say.
const DefaultSpan = 20 * time.Hour

// curve says when counts arrive: hours after the polls close by which a share
// of them is there, for the shares 0, 0.1, ... 1.
type curve [11]float64

// The curves, measured on the general election of 2020. The test
// TestCurvesAreThoseOfTheData computes them again where the data is at hand.
var measured = [phases]curve{
	// Michigan: when a county's first results are there, at earlyPace of the
	// time. The state had no early voting in 2020: that early votes come in
	// this shape, and so much sooner, is an assumption.
	beforeDay: {0.05, 0.09, 0.10, 0.10, 0.15, 0.21, 0.25, 0.38, 0.44, 0.71, 1.36},
	// Michigan: when a precinct's votes of election day are there.
	onDay: {0.24, 0.38, 0.38, 0.45, 0.56, 0.84, 0.84, 0.90, 1.15, 1.88, 7.09},
	// Michigan: when a precinct's absentee votes are there.
	afterDay: {0.18, 0.90, 1.88, 2.54, 4.46, 5.12, 6.43, 8.26, 11.90, 13.12, 16.80},
	// The whole country: votes that were added after the morning.
	lastly: {13, 19, 24, 43, 54, 112, 136, 170, 255, 381, 1006},
	// Michigan: when a precinct's first results are there, of those that have
	// any within a day. For nights in which units report once.
	atOnce: {0.18, 0.38, 0.56, 0.84, 0.95, 1.88, 3.12, 3.42, 5.42, 7.09, 13.78},
}

// at is when share p has arrived.
func (c *curve) at(p float64) float64 {
	x := p * float64(len(c)-1)
	i := min(int(x), len(c)-2)
	return c[i] + (c[i+1]-c[i])*(x-float64(i))
}

// earlyPace is how soon early votes come, against a county's first results.
const earlyPace = 0.25

// Hours of the first night, and of what follows: six weeks of late counts are
// squeezed into the rest of a script's night, with their shape.
const (
	firstNight = 17.0
	restBegins = 13.0
	restEnds   = 1006.0
	nightShare = 0.85
)

// place is where in a script's night, from 0 to 1, a phase's hour lies.
func place(p phase, hour float64) float64 {
	if p == lastly {
		return nightShare + (1-nightShare)*(hour-restBegins)/(restEnds-restBegins)
	}
	return nightShare * hour / firstNight
}

// curves are the measured ones, laid into a night.
type curves struct{ span time.Duration }

func newCurves(span time.Duration) curves { return curves{span} }

// draw draws when a unit's counts of each phase are there. A unit that is slow
// with one is slow with the next, half of the time; no phase comes before the
// one before it.
func (c curves) draw(d *elections.Draw) [phases]time.Duration {
	var out [phases]time.Duration
	before := time.Duration(0)
	own := d.Unit()
	for p := range out {
		share := own
		if other := d.Unit(); d.Chance(0.5) {
			share = other
		}
		out[p] = time.Duration(place(phase(p), measured[p].at(share)) * float64(c.span))
		if phase(p) != atOnce {
			out[p] = max(out[p], before)
			before = out[p]
		}
	}
	return out
}
