package faultsim

import (
	"fmt"
	"strings"
	"testing"
)

// replay says how to see a night again.
func replay(seed uint64) string {
	return fmt.Sprintf("tallystream simulate-faults --seed %d --trace", seed)
}

// fail prints what is needed to find the cause.
func fail(t *testing.T, r *Result) {
	t.Helper()
	t.Errorf("seed %d: %v\nthe last steps:\n%s\nreplay: %s", r.Seed, r.Violation, strings.Join(r.Trace[max(0, len(r.Trace)-40):], "\n"), replay(r.Seed))
}

// nights is how many each run of the tests simulates.
const nights = 2000

func TestEveryPromiseHoldsInThousandsOfFaultyNights(t *testing.T) {
	n := uint64(nights)
	if testing.Short() || raceEnabled {
		n = 40
	}
	c, err := RunMany(t.Context(), 0, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Failed {
		fail(t, r)
	}
	t.Logf("%d nights, %d steps, %.0f nights/s\n%s", c.Seeds, c.Steps, float64(c.Seeds)/c.Elapsed.Seconds(), c.table())
	if n == nights {
		if missing := c.Count.uncovered(); len(missing) > 0 {
			t.Errorf("never met: %s", strings.Join(missing, ", "))
		}
	}
}

func TestASeedGivesTheSameNightEachTime(t *testing.T) {
	// In simulators that have run other nights before, and beside others.
	first, err := New()
	if err != nil {
		t.Fatal(err)
	}
	second, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(15) {
		a := first.Run(seed)
		second.Run(seed + 1000)
		b := second.Run(seed)
		if a.Hash != b.Hash || a.Steps != b.Steps || a.Count != b.Count {
			t.Errorf("seed %d: %016x of %d steps, then %016x of %d steps", seed, a.Hash, a.Steps, b.Hash, b.Steps)
			for i := range min(len(a.Trace), len(b.Trace)) {
				if a.Trace[i] != b.Trace[i] {
					t.Errorf("they part at\n%s\n%s", a.Trace[i], b.Trace[i])
					break
				}
			}
		}
		if c := first.Run(seed + 500); c.Hash == a.Hash {
			t.Errorf("seeds %d and %d give the same night", seed, seed+500)
		}
	}
}
