package timeseries

import (
	"fmt"
	"strings"
	"testing"

	"tallystream/schemas"
)

// seen is one snapshot of a document and what is new in corrections.ndjson.
type seen struct {
	line  string // of the county wayne; empty: the document is as before
	moved []schemas.Movement
}

const wayneLine = `{"contest":"president","unit":"wayne","reporting":%d,"units":3%s,"votes":{"biden":[%d,2],"trump":[5,6]}}`

func wayne(reporting, corrections, biden int) string {
	text := ""
	if corrections > 0 {
		text = fmt.Sprintf(`,"corrections":%d`, corrections)
	}
	return fmt.Sprintf(wayneLine, reporting, text, biden)
}

func moved(seq uint64, county schemas.CountyID, falls ...schemas.Fall) schemas.Movement {
	return schemas.Movement{Unit: "u", County: county, Revision: 2, Replaces: 1, Kind: schemas.MovementRelease, Partition: 1, Seq: seq, Changes: falls}
}

func fall(selection schemas.SelectionID, t schemas.CountType, before, after schemas.Count) schemas.Fall {
	return schemas.Fall{Contest: contestID, Selection: selection, CountType: t, Before: before, After: after}
}

// TestANumberThatFallsNeedsItsCorrections: whoever only looks at what is published
// sees every fall that is not explained, and explanations of none.
func TestANumberThatFallsNeedsItsCorrections(t *testing.T) {
	three := fall("biden", schemas.ElectionDay, 9, 6)
	for name, c := range map[string]struct {
		snapshots []seen
		fell      int
		wrong     string // in the one finding; empty: none
	}{
		"numbers rise": {[]seen{{wayne(1, 0, 9), nil}, {wayne(2, 0, 12), nil}}, 0, ""},
		"a fall with its correction": {
			[]seen{{wayne(1, 0, 9), nil}, {wayne(1, 1, 6), []schemas.Movement{moved(1, "wayne", three)}}}, 1, ""},
		"a fall that others make up for": {
			[]seen{{wayne(1, 0, 9), nil}, {wayne(1, 1, 7), []schemas.Movement{moved(1, "wayne", three)}}}, 1, ""},
		"a fall without": {[]seen{{wayne(1, 0, 9), nil}, {wayne(1, 0, 8), nil}}, 1, "fell from 9 to 8 without a correction"},
		"a fall with an old one": {
			[]seen{{wayne(1, 0, 9), nil}, {wayne(1, 1, 6), []schemas.Movement{moved(1, "wayne", three)}}, {wayne(1, 1, 5), nil}}, 2, "fell from 6 to 5 without"},
		"a count that grew and no entry": {[]seen{{wayne(1, 0, 9), nil}, {wayne(1, 1, 9), nil}}, 0, "corrections went from 0 to 1, corrections.ndjson has 0"},
		"more than is listed": {
			[]seen{{wayne(1, 0, 9), nil}, {wayne(1, 1, 5), []schemas.Movement{moved(1, "wayne", three)}}}, 1, "fell by 4, corrections.ndjson explains 3"},
		"of another count type": {
			[]seen{{wayne(1, 0, 9), nil}, {wayne(1, 1, 6), []schemas.Movement{moved(1, "wayne", fall("biden", "absentee", 9, 6))}}}, 1, "explains 0"},
		"of another county": {
			[]seen{{wayne(1, 0, 9), nil}, {wayne(1, 1, 6), []schemas.Movement{moved(1, "kent", three)}}}, 1, "corrections went from 0 to 1"},
		"an entry that no line shows": {[]seen{{wayne(1, 0, 9), nil}, {"", []schemas.Movement{moved(1, "wayne", three)}}}, 0, "did not change"},
		"a unit that reports no more": {[]seen{{wayne(2, 0, 9), nil}, {wayne(1, 0, 9), nil}}, 1, "reporting  fell from 2 to 1 without"},
		"with its correction": {
			[]seen{{wayne(2, 0, 9), nil}, {wayne(1, 1, 9), []schemas.Movement{moved(1, "wayne", fall(schemas.Reporting, "", 1, 0))}}}, 1, ""},
		"a line that is gone":     {[]seen{{wayne(1, 0, 9), nil}, {strings.Replace(wayne(1, 0, 9), "wayne", "kent", 1), nil}}, 0, "is gone"},
		"a candidate who is gone": {[]seen{{wayne(1, 0, 9), nil}, {strings.Replace(wayne(1, 0, 9), "biden", "bidet", 1), nil}}, 0, "biden has 0 numbers, had 2"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &public{election: &schemas.Election{Definition: &schemas.Definition{
				Election: "e", CountTypes: []schemas.CountType{schemas.ElectionDay, "absentee"},
				Counties: []schemas.County{{ID: "wayne", State: "mi"}, {ID: "kent", State: "mi"}},
			}}}
			for i, s := range c.snapshots {
				p.snapshot = &schemas.Snapshot{Number: schemas.SnapshotNumber(i + 1)}
				x := p.explain(s.moved)
				if s.line == "" {
					p.unmoved("county/wayne", x)
				} else if err := p.document("county/wayne", []byte(s.line+"\n"), x); err != nil {
					t.Fatal(err)
				}
			}
			if p.Seen.Fell != c.fell {
				t.Errorf("%d numbers fell, want %d", p.Seen.Fell, c.fell)
			}
			all := strings.Join(p.Seen.Wrong, "\n")
			if c.wrong == "" && all != "" || !strings.Contains(all, c.wrong) {
				t.Errorf("found %q, want %q", all, c.wrong)
			}
		})
	}
}

// TestTheListOfCorrectionsOnlyGrows: an entry that is gone or was changed is seen.
func TestTheListOfCorrectionsOnlyGrows(t *testing.T) {
	entry := func(seq uint64, before schemas.Count) string {
		m := moved(seq, "wayne", fall("biden", schemas.ElectionDay, before, 6))
		m.Reason, m.Text, m.Signers = string(schemas.ReleaseChecked), "x", []string{"a", "b"}
		return string(m.AppendLine(nil))
	}
	for name, c := range map[string]struct{ first, then, want string }{
		"grows":   {entry(1, 9), entry(1, 9) + entry(2, 9), ""},
		"shrinks": {entry(1, 9) + entry(2, 9), entry(2, 9), "entry 1 of partition 1 is gone"},
		"changes": {entry(1, 9), entry(1, 8), "entry 1 of partition 1 is not what it was"},
	} {
		p := &public{snapshot: &schemas.Snapshot{}}
		for _, text := range []string{c.first, c.then} {
			if err := p.readMovements([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if all := strings.Join(p.Seen.Wrong, "\n"); (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
			t.Errorf("%s: found %q, want %q", name, all, c.want)
		}
	}
}
