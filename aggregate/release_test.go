package aggregate

import (
	"bytes"
	"testing"

	"tallystream/schemas"
)

func TestReleasesAreFoldedByTheRules(t *testing.T) {
	e := smallElection(t)
	const u = 0
	v := func(ballots, undervotes schemas.Count) []schemas.Count { return votes(e, u, ballots, undervotes) }
	broken := v(10, 0)
	broken[len(broken)-1]++
	r1, r2, r3, r4 := send(e, u, 1, v(10, 0), false), send(e, u, 2, v(20, 1), false), send(e, u, 3, v(30, 0), false), send(e, u, 4, v(40, 0), false)
	other2, third2 := send(e, u, 2, v(21, 1), false), send(e, u, 2, v(22, 1), false)
	low3, held2 := send(e, u, 3, v(5, 0), false), send(e, u, 2, broken, false)
	noise2 := sendPoison(e, u, 2, "{")
	correction3 := send(e, u, 3, broken, true)
	of := func(s *sent) *sent { return release(e, s, "Held against the tapes.", two...) }
	again := func(s *sent) *sent { return release(e, s, "Another text.", two...) }
	const nothing = schemas.HoldRelease
	for name, c := range map[string][]fate{
		"a hold counts":        {{held2, Held, schemas.HoldIdentity}, {of(held2), Released, ""}},
		"over what counted":    {{r2, Counted, ""}, {low3, Held, schemas.HoldLowered}, {of(low3), Released, ""}},
		"only once":            {{held2, Held, schemas.HoldIdentity}, {of(held2), Released, ""}, {of(held2), Duplicate, ""}, {again(held2), Duplicate, ""}},
		"and once it is later": {{held2, Held, schemas.HoldIdentity}, {r3, Counted, ""}, {of(held2), Lapsed, ""}, {again(held2), Duplicate, ""}},
		"the measure then": {
			{r2, Counted, ""}, {low3, Held, schemas.HoldLowered}, {of(low3), Released, ""}, {send(e, u, 4, v(6, 0), false), Counted, ""},
		},
		"it goes down no further": {
			{r2, Counted, ""}, {low3, Held, schemas.HoldLowered}, {of(low3), Released, ""}, {send(e, u, 4, v(4, 0), false), Held, schemas.HoldLowered},
		},
		"earlier ones are late": {
			{low3, Counted, ""}, {send(e, u, 4, v(3, 0), false), Held, schemas.HoldLowered}, {of(send(e, u, 4, v(3, 0), false)), Released, ""}, {r2, Superseded, ""},
		},
		"a repeat of it stays one": {{held2, Held, schemas.HoldIdentity}, {of(held2), Released, ""}, {held2, Duplicate, ""}},
		"a correction that was held": {
			{r2, Counted, ""}, {correction3, Held, schemas.HoldIdentity}, {of(correction3), Released, ""}, {r4, Counted, ""},
		},
		"the other of a conflict": {
			{r2, Counted, ""}, {other2, Held, schemas.HoldConflict}, {of(other2), Released, ""}, {r2, Duplicate, ""}, {other2, Duplicate, ""}, {r3, Counted, ""},
		},
		"and a third": {
			{r2, Counted, ""}, {other2, Held, schemas.HoldConflict}, {third2, Held, schemas.HoldConflict},
			{of(third2), Released, ""}, {of(other2), Released, ""}, {again(third2), Duplicate, ""},
		},
		"a conflict that is late": {{r2, Counted, ""}, {other2, Held, schemas.HoldConflict}, {r3, Counted, ""}, {of(other2), Lapsed, ""}},
		"a conflict of noise":     {{r2, Counted, ""}, {noise2, Held, schemas.HoldConflict}, {of(noise2), Held, nothing}, {r3, Counted, ""}},
		"nothing":                 {{of(r1), Held, nothing}, {of(r1), Held, nothing}},
		"which may yet come":      {{of(held2), Held, nothing}, {held2, Held, schemas.HoldIdentity}, {of(held2), Released, ""}},
		"what counts":             {{r1, Counted, ""}, {of(r1), Held, nothing}, {r1, Duplicate, ""}, {r2, Counted, ""}},
		"what was late":           {{r2, Counted, ""}, {r1, Superseded, ""}, {of(r1), Held, nothing}},
		"poison":                  {{noise2, Held, schemas.HoldPoison}, {of(noise2), Held, nothing}, {r1, Counted, ""}},
		"another body":            {{held2, Held, schemas.HoldIdentity}, {of(r2), Held, nothing}, {r2, Held, schemas.HoldConflict}},
	} {
		t.Run(name, func(t *testing.T) { checkFates(t, e, c) })
	}
}

func TestWhatIsUnlikelyIsHeldUntilItIsReleased(t *testing.T) {
	e := watchful(t) // units 0 and 2 of a county have one ballot style, 1 another; 3 is in the next county
	at := func(unit schemas.UnitIndex, revision schemas.Revision, ballots schemas.Count) *sent {
		return send(e, unit, revision, votes(e, unit, ballots, 0), false)
	}
	of := func(s *sent) *sent { return release(e, s, "Held against the tapes.", two...) }
	first, twin, later := at(0, 1, 25), at(2, 1, 25), at(2, 2, 26)
	much := at(0, 1, 200)
	correction := send(e, 2, 1, votes(e, 2, 25, 0), true)
	for name, c := range map[string][]fate{
		"a twin":                    {{first, Counted, ""}, {twin, Held, schemas.HoldTwin}, {of(twin), Released, ""}, {at(2, 2, 25), Held, schemas.HoldTwin}},
		"of what was replaced":      {{first, Counted, ""}, {at(0, 2, 27), Counted, ""}, {twin, Counted, ""}},
		"of a released one":         {{first, Counted, ""}, {twin, Held, schemas.HoldTwin}, {of(twin), Released, ""}, {at(0, 2, 25), Held, schemas.HoldTwin}},
		"no longer":                 {{first, Counted, ""}, {twin, Held, schemas.HoldTwin}, {of(twin), Released, ""}, {later, Counted, ""}, {at(0, 2, 25), Counted, ""}},
		"in another county":         {{first, Counted, ""}, {at(3, 1, 25), Counted, ""}},
		"too small to tell":         {{at(0, 1, 1), Counted, ""}, {at(2, 1, 1), Counted, ""}},
		"of another style":          {{first, Counted, ""}, {at(1, 1, 25), Counted, ""}},
		"two supervisors know":      {{first, Counted, ""}, {correction, Counted, ""}, {at(0, 2, 25), Held, schemas.HoldTwin}},
		"more than last time":       {{much, Held, schemas.HoldOutlier}, {of(much), Released, ""}, {at(0, 2, 300), Held, schemas.HoldOutlier}},
		"more than the neighbours":  {{at(0, 1, 20), Counted, ""}, {at(1, 1, 20), Counted, ""}, {at(2, 1, 85), Held, schemas.HoldOutlier}},
		"with too few of them":      {{at(0, 1, 20), Counted, ""}, {at(2, 1, 85), Counted, ""}},
		"the neighbours were wrong": {{at(0, 1, 20), Counted, ""}, {at(1, 1, 20), Counted, ""}, {at(0, 2, 90), Counted, ""}, {at(2, 1, 85), Counted, ""}},
	} {
		t.Run(name, func(t *testing.T) { checkFates(t, e, c) })
	}
}

func TestReleasesThatNobodyCouldHaveLetInArePoison(t *testing.T) {
	e := smallElection(t)
	broken := votes(e, 0, 10, 0)
	broken[len(broken)-1]++
	held := send(e, 0, 1, broken, false)
	good := release(e, held, "Right.", two...).record
	abroad := *held
	abroad.unit = 2 // of another partition
	for name, record := range map[string][]byte{
		"one signature":     release(e, held, "Right.", one...).record,
		"no reason":         bytes.Replace(good, []byte("reason checked"), []byte("reason because"), 1),
		"a cut note":        good[:len(good)-9],
		"another election":  bytes.Replace(good, []byte("example.org/test"), []byte("example.org/tess"), 1),
		"an unknown unit":   bytes.Replace(good, []byte("unit st-"), []byte("unit xx-"), 1),
		"another partition": release(e, &abroad, "Right.", two...).record,
	} {
		t.Run(name, func(t *testing.T) {
			p := &newStore(e, nil).load()[0]
			if outcome, err := p.fold(t.Context(), 1, held.record); err != nil || outcome != Held {
				t.Fatal(outcome, err)
			}
			if outcome, err := p.fold(t.Context(), 2, record); err != nil || outcome != Held {
				t.Fatal(outcome, err)
			}
			// It names no unit, so that it cannot pass for a submission seen before.
			x := p.entries[1]
			if x.Hold != schemas.HoldPoison || x.Unit != "" || x.Digest != schemas.DigestOf(record) {
				t.Errorf("entry %+v", x)
			}
			if outcome, err := p.fold(t.Context(), 3, good); err != nil || outcome != Released {
				t.Errorf("the good one after: %s, %v; want released", outcome, err)
			}
			if x := p.entries[2]; x.Held != 1 || x.Seq != 3 || x.Revision != 1 || x.Digest != held.digest() {
				t.Errorf("entry %+v", x)
			}
		})
	}
}
