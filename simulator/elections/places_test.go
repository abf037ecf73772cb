package elections

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestApportionSplitsExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Float64Range(0.001, 1000), 1, 60).Draw(t, "weights")
		total := rapid.IntRange(len(weights), 10_000).Draw(t, "total")
		parts := apportion(total, weights)
		sum := 0
		for _, n := range parts {
			if n < 1 {
				t.Fatalf("a part of %d", n)
			}
			sum += n
		}
		if sum != total {
			t.Fatalf("parts add up to %d, want %d", sum, total)
		}
	})
}

func TestTheUnionsProfilesAreTheTrueNumbers(t *testing.T) {
	counties, house := 0, 0
	for _, p := range unionProfiles {
		counties += p.counties
		if p.id != "dc" {
			house += p.house
		}
	}
	if len(unionProfiles) != 51 || counties != 3143 || house != 435 {
		t.Errorf("%d states, %d counties, %d districts; want 51, 3,143, 435", len(unionProfiles), counties, house)
	}
}

func TestCountyNamesAreDistinct(t *testing.T) {
	for seed := range uint64(50) {
		d := DrawOf(seed)
		names := countyNames(&d, 254)
		if slices.Sort(names); len(slices.Compact(names)) != 254 {
			t.Fatalf("seed %d: a name stands twice", seed)
		}
	}
}

func TestDrawsAreUniformEnough(t *testing.T) {
	d := DrawOf(1, 2)
	var below [10]int
	sum := 0.0
	const n = 100_000
	for range n {
		below[d.Below(10)]++
		sum += d.Normal()
	}
	for i, k := range below {
		if k < n/10-500 || k > n/10+500 {
			t.Errorf("%d of %d draws below 10 are %d", k, n, i)
		}
	}
	if mean := sum / n; mean < -0.02 || mean > 0.02 {
		t.Errorf("the mean of normal draws is %f", mean)
	}
}
