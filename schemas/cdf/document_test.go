package cdf_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

// documents are those of the counties, as a publisher writes them.
func documents(ts *tallies) []string {
	out := make([]string, len(ts.counties))
	for c, row := range ts.counties {
		county := &ts.election.Counties[c]
		var lines []string
		for i := range county.Sections {
			s := &county.Sections[i]
			lines = append(lines, string(ts.election.AppendLine(nil, s, county.ID, int64(s.Units), 0, row)))
		}
		slices.Sort(lines)
		out[c] = strings.Join(lines, "")
	}
	return out
}

func TestTheReportOfASnapshotCanBeMadeFromItsDocuments(t *testing.T) {
	e := open(t, example())
	ts := tally(e, func(u schemas.UnitIndex) bool { return u != 2 })
	again := &tallies{election: e, counties: make([][]int64, len(e.Counties))}
	for c, document := range documents(ts) {
		row, err := cdf.RowOf(e, schemas.CountyIndex(c), []byte(document))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(row, ts.counties[c]) {
			t.Errorf("county %d: got %v, want %v", c, row, ts.counties[c])
		}
		again.counties[c] = row
	}
	if !bytes.Equal(summary(t, again, facts(cdf.Certified)), summary(t, ts, facts(cdf.Certified))) {
		t.Error("the report is another one")
	}
}

func TestADocumentThatIsNotTheCountysIsRefused(t *testing.T) {
	e := open(t, example())
	good := documents(tally(e, all))[0]
	line, _, _ := strings.Cut(good, "\n")
	for _, c := range []struct{ from, to, want string }{
		{line + "\n", "", "contest ballots-cast is missing"},
		{line + "\n", line + "\n" + line + "\n", "line 2: contest ballots-cast stands twice"},
		{`"unit":"emerald"`, `"unit":"east"`, "line 1: is of east, want emerald"},
		{`"contest":"measure"`, `"contest":"nowhere"`, "contest nowhere is not voted on there"},
		{`"contest":"measure"`, `"contest":"new"`, "contest new is not voted on there"},
		{`"units":3`, `"units":4`, "want at most 3 of 3"},
		{`"reporting":3`, `"reporting":4`, "4 of 3 units"},
		{`"ballots":[`, `"ballots":[1,`, "ballots: 5 counts, want 4"},
		{`"ozma":`, `"ozmb":`, "ozma: 0 counts, want 4"},
		{`"votes":{"ozma"`, `"votes":{"more":[1,1,1,1],"ozma"`, "4 selections, want 3"},
		{`"undervotes":`, `"undervoters":`, "unknown"},
		{`"contest":"council.s","unit":"emerald","reporting":1,"units":1,`, `"contest":"council.s","unit":"emerald","reporting":1,"units":1,"undervotes":[0,0,0,0],"overvotes":[0,0,0,0],`, "against the definition"},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		if bad == good {
			t.Errorf("the document has no %s\n%s", c.from, good)
			continue
		}
		if _, err := cdf.RowOf(e, 0, []byte(bad)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.to, err, c.want)
		}
	}
}
