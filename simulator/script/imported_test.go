package script_test

import (
	"errors"
	"testing"

	"tallystream/schemas"
	"tallystream/simulator/openelections"
	"tallystream/simulator/realdata"
	"tallystream/simulator/script"
)

// imported opens one of the real sets, or skips.
func imported(t *testing.T, set string) *openelections.Results {
	t.Helper()
	sources, err := openelections.Find(t.Context(), nil, realdata.Path(t, set+"/results.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := openelections.Import(sources, openelections.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRealResultsMakeNightsThatEndAtTheTruth(t *testing.T) {
	skipUnderRace(t)
	for set, parts := range map[string]int{"fl-2020-leon-sumter": 1, "sc-2024-general": 4} {
		t.Run(set, func(t *testing.T) {
			r := imported(t, set)
			n := write(t, r, script.Config{Seed: 11, Revisions: 2,
				Rates: script.Rates{Duplicates: 0.05, Reordered: 0.05, Corrections: 0.1, Held: 0.1, Refused: 0.1}})
			tallies := make([]unitTally, len(n.e.Units))
			for _, ev := range n.s.Shard(0, parts) { // one of the parts is enough
				envelope, err := n.s.Envelope(ev, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := ev.Outcome()
				st, digest, err := n.receive(envelope)
				if err != nil {
					var f *schemas.FieldError
					if !errors.As(err, &f) || f.Code != want.Problem {
						t.Fatalf("unit %s, %s: refused for %v, want %+v", n.e.Units[ev.Unit].ID, ev.Kind, err, want)
					}
					continue
				}
				if got := tallies[st.Unit].take(n.e, st, digest); got != want {
					t.Fatalf("unit %s, revision %d, %s: got %+v, want %+v", n.e.Units[ev.Unit].ID, ev.Revision, ev.Kind, got, want)
				}
			}
			n.checkTruth(t, tallies, parts)
			t.Logf("%+v", n.s.Expected())
		})
	}
}

// A contest whose identity holds only in total is stated as soon as it adds up
// in the unit, and stays stated.
func TestContestsThatAddUpInTotalAreStatedEarlyWhereTheyCan(t *testing.T) {
	r := imported(t, "fl-2020-leon-sumter")
	n := write(t, r, script.Config{Seed: 1, Revisions: 3})
	president, _ := n.e.Contest("president")
	stated := 0
	for ev := range n.s.All() {
		var sub schemas.Submission
		var st schemas.Statement
		if err := sub.Decode(n.s.Body(ev, nil)); err != nil {
			t.Fatal(err)
		}
		if err := n.e.Resolve(&sub, &st); err != nil {
			t.Fatal(err)
		}
		i, _ := n.e.Units[ev.Unit].Style.Find(president)
		if ev.Revision == 1 && st.Cells[n.e.Units[ev.Unit].Style.Sections[i].Offset] == 1 {
			stated++
		}
	}
	if stated < 156 { // Leon's units split every row or none
		t.Errorf("%d units state President in their first revision, want Leon's 156", stated)
	}
}
