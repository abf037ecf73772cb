package simulator

import (
	"tallystream/simulator/elections"
)

// open makes the truth that the flags ask for.
func (d *drive) open(f electionFlags) error {
	g, err := elections.Generate(elections.Kind(f.Generate), f.Seed)
	if err != nil {
		return err
	}
	d.truth, d.sums, d.contests = g, expectFromTruth(g), countyContests(g)
	return nil
}

// countyContests counts each contest once in each county that votes on it.
func countyContests(t elections.Truth) int {
	n := 0
	for _, c := range t.Election().Counties {
		n += len(c.Sections) - 1 // the first is ballots
	}
	return n
}
