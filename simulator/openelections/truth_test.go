package openelections_test

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"tallystream/schemas"
	"tallystream/simulator/openelections"
	"tallystream/simulator/realdata"
)

// known keeps what was imported for the next test; results never change.
var known sync.Map

// imported imports one of the real sets, once, or skips.
func imported(t *testing.T, set string) *openelections.Results {
	t.Helper()
	if r, ok := known.Load(set); ok {
		return r.(*openelections.Results)
	}
	r := importAgain(t, set)
	known.Store(set, r)
	return r
}

func importAgain(t *testing.T, set string) *openelections.Results {
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

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// published folds the truth's cells county by county, as the pipeline does,
// and names them as exports do.
func published(r *openelections.Results) map[openelections.SumKey]int64 {
	e := r.Election()
	out := map[openelections.SumKey]int64{}
	var cells []schemas.Count
	for c := range e.Counties {
		county := &e.Counties[c]
		row := make([]int64, county.Cells)
		for _, u := range county.Units {
			cells = r.Cells(u, cells)
			e.Fold(row, u, nil, cells)
		}
		for _, s := range county.Sections {
			var ids []schemas.SelectionID
			switch {
			case s.Selections == 0: // ballots are not known
			case s.Contest == schemas.BallotsIndex:
				ids = append(ids, schemas.Ballots)
			default:
				for _, sel := range e.Definition.Contests[s.Contest].Selections {
					ids = append(ids, sel.ID)
				}
			}
			if s.Residuals {
				ids = append(ids, schemas.Undervotes, schemas.Overvotes)
			}
			for k, id := range ids {
				for i, ct := range e.Definition.CountTypes {
					out[openelections.SumKey{County: county.ID, Contest: e.ContestID(s.Contest), Selection: id, CountType: ct}] = row[int(s.Offset)+1+k*e.Types()+i]
				}
			}
		}
	}
	return out
}

func TestCellsAddUpToTheSumsOfTheRows(t *testing.T) {
	for _, set := range []string{"sc-2024-general", "fl-2020-leon-sumter"} {
		r := imported(t, set)
		got, want := published(r), r.Sums()
		for k, n := range want {
			if got[k] != n {
				t.Fatalf("%s: %+v is %d in the cells, %d in the rows", set, k, got[k], n)
			}
		}
		for k, n := range got {
			if want[k] != n {
				t.Fatalf("%s: %+v is %d in the cells, %d in the rows", set, k, n, want[k])
			}
		}
	}
}

func TestSouthCarolinaHasItsTrueSizeAndTotals(t *testing.T) {
	r := imported(t, "sc-2024-general")
	e := r.Election()
	if len(e.Units) != 2446 || r.CountyContests() != 1344 || r.Rows() != 120_333 || len(e.Counties) != 46 {
		t.Errorf("%d units, %d contests, %d rows, %d counties; want 2446, 1344, 120333, 46", len(e.Units), r.CountyContests(), r.Rows(), len(e.Counties))
	}
	administrative := 0
	for _, u := range e.Definition.Units {
		if u.Kind == schemas.AdministrativeUnit {
			administrative++
		}
	}
	if administrative != 138 {
		t.Errorf("%d administrative units, want 138", administrative)
	}
	for _, c := range realdata.Table(t, realdata.Path(t, "sc-2024-general/counties.csv")) {
		i, _ := e.County(schemas.CountyID(strings.ToLower(c["county"])))
		if got := len(e.Counties[i].Units); int64(got) != number(t, c["units"]) {
			t.Errorf("%s: %d units, want %s", c["county"], got, c["units"])
		}
		// Section 0 is ballots cast.
		if got := len(e.Counties[i].Sections) - 1; int64(got) != number(t, c["contests"]) {
			t.Errorf("%s: %d contests, want %s", c["county"], got, c["contests"])
		}
	}
	if e.Definition.Rules.Ballots || e.Definition.Rules.Registered {
		t.Error("rules apply whose facts this set does not have")
	}
}

var southCarolinaTypes = map[string]schemas.CountType{
	"early_voting": "early", "election_day": "election-day", "absentee_by_mail": "absentee-mail", "provisional": "provisional",
	"failsafe_provisional": "other-failsafe-provisional", "failsafe": "other-failsafe",
}

// Statewide totals with their spellings merged, by count type.
func TestSouthCarolinaStatewideTotalsAreExact(t *testing.T) {
	r := imported(t, "sc-2024-general")
	contests := map[string]schemas.ContestID{"President": "president", "Amendment 1": "amendment-1"}
	selections := map[string]schemas.SelectionID{
		"Donald J Trump/JD Vance": "donald-j-trump", "Kamala D Harris/Tim Walz": "kamala-d-harris", "Chase Oliver/Mike ter Maat": "chase-oliver",
		"Jill Stein/Rudolph Butch Ware": "jill-stein", "Cornel West/Melina Abdulla": "cornel-west",
		"Randall A Terry/Stephen E Broden": "randall-a-terry", "Claudia De La Cruz/Karina Garcia": "claudia-de-la-cruz",
		"ALN Mike Bedenbaugh": "mike-bedenbaugh", "ALN Joseph Oddo": "joseph-oddo", "Yes": "yes", "No": "no",
	}
	statewide := map[openelections.SumKey]int64{}
	seen := map[schemas.ContestID]int{}
	for k, n := range r.Sums() {
		k.County = ""
		statewide[k] += n
	}
	rows := realdata.Table(t, realdata.Path(t, "sc-2024-general/totals_statewide.csv"))
	for _, row := range rows {
		contest := contests[row["office"]]
		if row["office"] == "U.S. House" {
			contest = schemas.ContestID("us-house-" + row["district"])
		}
		selection, ok := selections[row["candidate_normalised"]]
		if !ok {
			selection = schemas.SelectionID(strings.ReplaceAll(strings.ToLower(row["candidate_normalised"]), " ", "-"))
		}
		seen[contest]++
		for column, ct := range southCarolinaTypes {
			k := openelections.SumKey{Contest: contest, Selection: selection, CountType: ct}
			if got, ok := statewide[k]; !ok || got != number(t, row[column]) {
				t.Errorf("%+v is %d, want %s", k, got, row[column])
			}
		}
	}
	// No selection beside the true ones is left over.
	for contest, n := range seen {
		i, _ := r.Election().Contest(contest)
		if got := len(r.Election().Definition.Contests[i].Selections); got != n {
			t.Errorf("%s has %d selections, want %d", contest, got, n)
		}
	}
}

// Every row of the ground truth by county is found again: the sum over a
// county's contest of each count type, and each single row's counts as the
// counts of some selection or as part of them where spellings are merged.
func TestSouthCarolinaCountyTotalsAreExact(t *testing.T) {
	r := imported(t, "sc-2024-general")
	type cell struct {
		county schemas.CountyID
		ct     schemas.CountType
	}
	got, want := map[cell]int64{}, map[cell]int64{}
	for k, n := range r.Sums() {
		got[cell{k.County, k.CountType}] += n
	}
	type name struct {
		county schemas.CountyID
		counts [6]int64
	}
	bySelection := map[name]int{}
	type selection struct {
		county    schemas.CountyID
		contest   schemas.ContestID
		selection schemas.SelectionID
	}
	rowsOf := map[selection][6]int64{}
	order := []schemas.CountType{"early", "election-day", "absentee-mail", "provisional", "other-failsafe-provisional", "other-failsafe"}
	for k, n := range r.Sums() {
		s := selection{k.County, k.Contest, k.Selection}
		counts := rowsOf[s]
		counts[slices.Index(order, k.CountType)] = n
		rowsOf[s] = counts
	}
	for s, counts := range rowsOf {
		bySelection[name{s.county, counts}]++
	}
	rows := realdata.Table(t, realdata.Path(t, "sc-2024-general/totals_by_county.csv.gz"))
	if len(rows) != 3903 {
		t.Fatalf("%d rows of ground truth, want 3,903", len(rows))
	}
	missing := 0
	for _, row := range rows {
		county := schemas.CountyID(strings.ToLower(row["county"]))
		n := name{county: county}
		for column, ct := range southCarolinaTypes {
			n.counts[slices.Index(order, ct)] = number(t, row[column])
			want[cell{county, ct}] += number(t, row[column])
		}
		if bySelection[n] == 0 {
			missing++
			if !strings.Contains(row["candidate"], "Mike Van Horn") { // the one spelled in two ways within a county
				t.Errorf("no selection has the counts of %v", row)
			}
			continue
		}
		bySelection[n]--
	}
	if missing != 2 || len(rowsOf) != 3902 {
		t.Errorf("%d rows are part of a merged selection and there are %d selections in the counties, want 2 and 3,902", missing, len(rowsOf))
	}
	for c, n := range want {
		if got[c] != n {
			t.Errorf("%v: %d, want %d", c, got[c], n)
		}
	}
}

func TestFloridaSatisfiesItsIdentitiesInEveryUnit(t *testing.T) {
	r := imported(t, "fl-2020-leon-sumter")
	e := r.Election()
	if len(e.Units) != 182 || !e.Definition.Rules.Ballots || !e.Definition.Rules.Registered {
		t.Fatalf("%d units, rules %+v; want 182 and both rules", len(e.Units), e.Definition.Rules)
	}
	president, _ := e.Contest("president")
	var cells []schemas.Count
	for u := range e.Units {
		cells = r.Cells(schemas.UnitIndex(u), cells)
		i, ok := e.Units[u].Style.Find(president)
		if !ok {
			t.Fatalf("unit %s does not vote for President", e.Units[u].ID)
		}
		s := e.Units[u].Style.Sections[i]
		sum, ballots := 0, 0
		for _, n := range cells[s.Offset+1:][:s.Size(e.Types())-1] {
			sum += int(n)
		}
		for _, n := range cells[1 : 1+e.Types()] {
			ballots += int(n)
		}
		if sum != ballots {
			t.Errorf("unit %s: votes, under- and overvotes are %d, ballots %d", e.Units[u].ID, sum, ballots)
		}
	}
	totals := map[openelections.SumKey]int64{}
	for k, n := range r.Sums() {
		k.CountType = ""
		totals[k] += n
	}
	for _, want := range []struct {
		county    schemas.CountyID
		contest   schemas.ContestID
		selection schemas.SelectionID
		n         int64
	}{
		{"leon", "ballots-cast", "ballots", 164_174}, {"sumter", "ballots-cast", "ballots", 92_923},
		{"leon", "president", "joseph-r-biden", 103_481}, {"leon", "president", "donald-j-trump", 57_430},
		{"leon", "president", "overvotes", 134}, {"leon", "president", "undervotes", 623},
		{"sumter", "president", "donald-j-trump", 62_761}, {"sumter", "president", "joseph-r-biden", 29_341},
	} {
		if got := totals[openelections.SumKey{County: want.county, Contest: want.contest, Selection: want.selection}]; got != want.n {
			t.Errorf("%s %s %s: %d, want %d", want.county, want.contest, want.selection, got, want.n)
		}
	}
}

// The 13 rows whose count types do not add up are told, with their lines.
func TestFloridaWrongSplitsAreToldAndKept(t *testing.T) {
	r := imported(t, "fl-2020-leon-sumter")
	var lines []int
	for _, w := range r.Warnings() {
		if w.Kind == openelections.Split {
			lines = append(lines, w.Line)
		}
	}
	want := []int{3876, 4467, 4484, 4485, 4544, 4621, 4775, 4929, 5006, 5027, 5083, 5160, 5476}
	if !slices.Equal(lines, want) {
		t.Errorf("warned of lines %v, want %v", lines, want)
	}
	// Their votes are all there: every total of the ground truth is found.
	bySelection := map[string]int{}
	perSelection := map[openelections.SumKey]int64{}
	for k, n := range r.Sums() {
		k.CountType = ""
		perSelection[k] += n
	}
	for k, n := range perSelection {
		bySelection[string(k.County)+" "+strconv.FormatInt(n, 10)]++
	}
	for _, row := range realdata.Table(t, realdata.Path(t, "fl-2020-leon-sumter/totals_by_county.csv")) {
		if row["office"] == "Registered Voters" || row["office"] == "Ballots Cast Blank" {
			continue
		}
		k := strings.ToLower(row["county"]) + " " + row["votes"]
		if bySelection[k] == 0 {
			t.Errorf("no selection has the votes of %v", row)
		}
		bySelection[k]--
	}
}

func TestImportIsTheSameEveryTime(t *testing.T) {
	first := imported(t, "fl-2020-leon-sumter")
	for range 4 {
		again := importAgain(t, "fl-2020-leon-sumter")
		if string(first.Definition()) != string(again.Definition()) {
			t.Fatal("two imports of one file give two definitions")
		}
		if !slices.Equal(first.Warnings(), again.Warnings()) {
			t.Fatal("two imports of one file give other warnings")
		}
	}
}
