package viewers

import (
	"testing"

	"pgregory.net/rapid"

	"tallystream/schemas"
)

func TestTheSequenceIsTheClientRule(t *testing.T) {
	at := position{known: true, epoch: 3, version: 10}
	for _, c := range []struct {
		name     string
		from, to schemas.Version
		epoch    schemas.Epoch
		want     verdict
		version  schemas.Version
	}{
		{"from mine", 10, 12, 3, followed, 12},
		{"from before mine", 7, 12, 3, followed, 12},
		{"from after mine", 11, 12, 3, missed, 10},
		{"to mine", 9, 10, 3, repeated, 10},
		{"to before mine", 8, 9, 3, repeated, 10},
		{"of an epoch that ended", 10, 12, 2, stale, 10},
		{"of a later epoch", 10, 12, 4, missed, 10},
	} {
		p := at
		v, advance := p.delta(&schemas.DeltaHeader{Epoch: c.epoch, From: c.from, To: c.to})
		if v != c.want || p.version != c.version || advance != uint64(c.version-10) {
			t.Errorf("%s: %s, at %d, %d on", c.name, v, p.version, advance)
		}
	}
	nothing := position{}
	if v, _ := nothing.delta(&schemas.DeltaHeader{Epoch: 1, From: 0, To: 1}); v != missed {
		t.Errorf("a delta to a viewer with nothing: %s", v)
	}
}

func TestSnapsLeadOnOrAreNoticed(t *testing.T) {
	for _, c := range []struct {
		name    string
		epoch   schemas.Epoch
		version schemas.Version
		asked   bool
		want    verdict
	}{
		{"newer", 3, 11, false, followed},
		{"the same", 3, 10, false, repeated},
		{"the same, asked for", 3, 10, true, excused},
		{"older", 3, 9, false, rewound},
		{"of the next epoch", 4, 1, false, followed},
		{"of an epoch that ended", 2, 50, false, stale},
		{"from the bucket", 0, 7, false, followed},
	} {
		p := position{known: true, epoch: 3, version: 10, asked: c.asked}
		if v := p.snap(&schemas.Snap{Epoch: c.epoch, Version: c.version}); v != c.want || p.version != c.version || p.epoch != c.epoch || p.asked {
			t.Errorf("%s: %s, at %d of %d", c.name, v, p.version, p.epoch)
		}
	}
}

// TestAnyLossRepetitionOrMixUpIsNoticed takes a right run of deltas and spoils
// it: the checker says nothing of the right one, and something of any other.
func TestAnyLossRepetitionOrMixUpIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(1, 5), 2, 20).Draw(t, "steps")
		var run []schemas.DeltaHeader
		at := schemas.Version(3)
		for _, n := range steps {
			run = append(run, schemas.DeltaHeader{Epoch: 1, From: at, To: at + schemas.Version(n)})
			at += schemas.Version(n)
		}
		wrong := func(run []schemas.DeltaHeader) (n int) {
			p := position{known: true, epoch: 1, version: 3}
			for i := range run {
				if v, _ := p.delta(&run[i]); v != followed {
					n++
				}
			}
			if p.behind(Head{1, at}) {
				n++
			}
			return n
		}
		if n := wrong(run); n != 0 {
			t.Fatalf("%d wrong in a right run", n)
		}
		i := rapid.IntRange(0, len(run)-1).Draw(t, "where")
		switch rapid.SampledFrom([]string{"lose", "repeat", "swap"}).Draw(t, "how") {
		case "lose":
			run = append(run[:i:i], run[i+1:]...)
		case "repeat":
			run = append(run[:i+1:i+1], run[i:]...)
		case "swap":
			j := (i + 1) % len(run)
			run[i], run[j] = run[j], run[i]
		}
		if wrong(run) == 0 {
			t.Fatal("not noticed")
		}
	})
}
