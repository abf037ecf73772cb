package simulator

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tallystream/schemas"
	"tallystream/service"
	"tallystream/simulator/realdata"
)

// The tests here read the ground-truth files of real results by themselves,
// and hold them against what a rehearsal published. They do not use the
// importer's names: within a county, contests are compared as bags of
// candidates, and candidates as rows of numbers.

// rehearse plays a night at full speed and returns its report and its bucket.
func rehearse(t *testing.T, e electionFlags, viewers int) (*Report, string) {
	t.Helper()
	var out bytes.Buffer
	d, err := newDrive(t.Context(), e, driveFlags{Speed: "max", Viewers: viewers, Clients: 64}, &out)
	if err != nil {
		t.Fatal(err)
	}
	data := service.Data{Dir: t.TempDir()}
	if err := d.writeElection(data, "ingest", "publish"); err != nil {
		t.Fatal(err)
	}
	bucketDir := t.TempDir()
	night, err := StartNight(context.WithoutCancel(t.Context()), NightOptions{
		Data: data, Bucket: bucketDir, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := night.Close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := d.play(t.Context(), night)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !r.Reconciled {
		t.Errorf("not reconciled: %s", strings.Join(r.Mismatches, "\n"))
	}
	return r, bucketDir
}

func number(t *testing.T, s string) int {
	t.Helper()
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// bag is a county's contests, each a sorted list of its candidates' numbers.
type bag []string

func bagOf(contests map[string][]string) bag {
	var out bag
	for _, rows := range contests {
		slices.Sort(rows)
		out = append(out, strings.Join(rows, " | "))
	}
	slices.Sort(out)
	return out
}

// publishedFile is the one file of that name in the bucket.
func publishedFile(t *testing.T, bucketDir, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(bucketDir, "csv", "*", name))
	if err != nil || len(found) == 0 {
		t.Fatalf("no csv/*/%s in the bucket: %v", name, err)
	}
	slices.Sort(found)
	return found[len(found)-1]
}

// published sums results.csv per county, contest, selection and count type.
func published(t *testing.T, bucketDir string, types []string) map[string]map[string]map[string][]int {
	t.Helper()
	out := map[string]map[string]map[string][]int{} // county, contest, selection
	for _, row := range realdata.Table(t, publishedFile(t, bucketDir, "results.csv")) {
		k := slices.Index(types, row["count_type"])
		if k < 0 {
			t.Fatalf("count type %q", row["count_type"])
		}
		county := out[row["county"]]
		if county == nil {
			county = map[string]map[string][]int{}
			out[row["county"]] = county
		}
		if county[row["contest"]] == nil {
			county[row["contest"]] = map[string][]int{}
		}
		if county[row["contest"]][row["selection"]] == nil {
			county[row["contest"]][row["selection"]] = make([]int, len(types))
		}
		county[row["contest"]][row["selection"]][k] += number(t, row["votes"])
	}
	return out
}

func joinInts(n []int) string {
	var b strings.Builder
	for i, x := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(x))
	}
	return b.String()
}

func TestSouthCarolinaIsPublishedExactlyAsItVoted(t *testing.T) {
	results := realdata.Path(t, "sc-2024-general/results.csv.gz")
	report, dir := rehearse(t, electionFlags{Results: []string{results}, Seed: 7, Revisions: 3, Released: 0.5}, 8)
	if report.Units != 2446 || report.Contests != 1344 {
		t.Errorf("%d units and %d contests, want 2446 and 1344", report.Units, report.Contests)
	}
	if s := report.Submissions; s.Duplicate == 0 || s.Held == 0 || s.Refused == 0 {
		t.Errorf("the night had no duplicates, holds or refusals: %+v", s)
	}
	columns := []string{"early_voting", "election_day", "absentee_by_mail", "provisional", "failsafe_provisional", "failsafe"}
	types := []string{"early", "election-day", "absentee-mail", "provisional", "other-failsafe-provisional", "other-failsafe"}
	want := map[string]map[string][]string{} // county, office and district
	for county, contests := range southCarolinaTruth(t, columns) {
		want[county] = map[string][]string{}
		for contest, candidates := range contests {
			for _, n := range candidates {
				want[county][contest] = append(want[county][contest], joinInts(n))
			}
		}
	}
	got := published(t, dir, types)
	if len(got) != 46 || len(want) != 46 {
		t.Fatalf("%d counties published, %d in the ground truth, want 46", len(got), len(want))
	}
	for county, contests := range want {
		sums := map[string][]string{}
		for contest, selections := range got[county] {
			for _, n := range selections {
				sums[contest] = append(sums[contest], joinInts(n))
			}
		}
		if d := cmp.Diff(bagOf(contests), bagOf(sums)); d != "" {
			t.Errorf("%s: published contests are not those of the ground truth (-want +got)\n%s", county, d)
		}
	}
	checkStatewide(t, got, types, columns)
}

// southCarolinaTruth reads the ground truth by county, contest and candidate.
// One county spells one candidate in two ways, with and without the party in
// front ("REP Mike Van Horn Sr"): both are his votes.
func southCarolinaTruth(t *testing.T, columns []string) map[string]map[string]map[string][]int {
	t.Helper()
	out := map[string]map[string]map[string][]int{}
	for _, row := range realdata.Table(t, realdata.Path(t, "sc-2024-general/totals_by_county.csv.gz")) {
		county, contest := strings.ToLower(row["county"]), row["office"]+"\x00"+row["district"]
		candidate := row["party"] + "\x00" + strings.TrimPrefix(row["candidate"], row["party"]+" ")
		if out[county] == nil {
			out[county] = map[string]map[string][]int{}
		}
		if out[county][contest] == nil {
			out[county][contest] = map[string][]int{}
		}
		if out[county][contest][candidate] == nil {
			out[county][contest][candidate] = make([]int, len(columns))
		}
		for i, c := range columns {
			out[county][contest][candidate][i] += number(t, row[c])
		}
	}
	return out
}

// checkStatewide holds the contests that the ground truth names statewide
// against the published sums over all counties: here spellings were merged.
func checkStatewide(t *testing.T, got map[string]map[string]map[string][]int, types, columns []string) {
	t.Helper()
	statewide := map[string]map[string][]int{}
	for _, contests := range got {
		for contest, selections := range contests {
			if statewide[contest] == nil {
				statewide[contest] = map[string][]int{}
			}
			for s, n := range selections {
				if statewide[contest][s] == nil {
					statewide[contest][s] = make([]int, len(types))
				}
				for i := range n {
					statewide[contest][s][i] += n[i]
				}
			}
		}
	}
	want := map[string][]string{}
	for _, row := range realdata.Table(t, realdata.Path(t, "sc-2024-general/totals_statewide.csv")) {
		id := strings.NewReplacer(" ", "-", ".", "").Replace(strings.ToLower(strings.TrimSpace(row["office"] + " " + row["district"])))
		id = strings.ReplaceAll(id, "u-s-", "us-")
		var n []int
		for _, c := range columns {
			n = append(n, number(t, row[c]))
		}
		want[id] = append(want[id], joinInts(n))
	}
	for id, rows := range want {
		var sums []string
		for _, n := range statewide[id] {
			sums = append(sums, joinInts(n))
		}
		slices.Sort(sums)
		slices.Sort(rows)
		if !slices.Equal(sums, rows) {
			t.Errorf("%s statewide: got %q, want %q", id, sums, rows)
		}
	}
	if len(want) < 9 {
		t.Errorf("only %d statewide contests in the ground truth: %v", len(want), slices.Collect(maps.Keys(want)))
	}
}

func TestFloridaIsPublishedExactlyAndItsWrongSplitsAreReported(t *testing.T) {
	results := realdata.Path(t, "fl-2020-leon-sumter/results.csv.gz")
	report, dir := rehearse(t, electionFlags{Results: []string{results}, Seed: 7, Revisions: 3, Released: 0.5}, 4)
	if report.Units != 182 {
		t.Errorf("%d units, want 182", report.Units)
	}
	splits := 0
	for _, w := range report.Warnings {
		if w.Kind == "split" {
			splits++
			if w.Line == 0 {
				t.Errorf("a warning without its line: %s", w)
			}
		}
	}
	if splits != 13 {
		t.Errorf("%d rows with wrong splits are reported, want 13", splits)
	}
	types := []string{"election-day", "early", "absentee", "absentee-mail", "other"}
	got := published(t, dir, types)
	// Totals only: where the source does not split votes, the difference is in
	// "other". Offices that are no contests are compared by themselves.
	want := map[string]map[string][]string{}
	for _, row := range realdata.Table(t, realdata.Path(t, "fl-2020-leon-sumter/totals_by_county.csv")) {
		county := strings.ToLower(row["county"])
		if want[county] == nil {
			want[county] = map[string][]string{}
		}
		switch row["office"] {
		case "Registered Voters", "Ballots Cast Blank":
		default:
			contest := row["office"] + "\x00" + row["district"]
			want[county][contest] = append(want[county][contest], row["votes"])
		}
	}
	for county, contests := range want {
		sums := map[string][]string{}
		for contest, selections := range got[county] {
			for _, n := range selections {
				total := 0
				for _, x := range n {
					total += x
				}
				sums[contest] = append(sums[contest], strconv.Itoa(total))
			}
		}
		if d := cmp.Diff(bagOf(contests), bagOf(sums)); d != "" {
			t.Errorf("%s: published contests are not those of the ground truth (-want +got)\n%s", county, d)
		}
	}
	checkFloridaIdentity(t, results, dir)
}

// checkFloridaIdentity checks that the identity rule is on for the President,
// that it holds in every unit as published, and that registration is what the
// ground truth says.
func checkFloridaIdentity(t *testing.T, results, dir string) {
	t.Helper()
	definition, err := os.ReadFile(filepath.Join(dir, schemas.DefinitionKey))
	if err != nil {
		t.Fatal(err)
	}
	e, err := schemas.OpenElection(definition)
	if err != nil {
		t.Fatal(err)
	}
	i, ok := e.Contest("president")
	if !ok || e.Definition.Contests[i].Residuals == schemas.ResidualsNone || !e.Definition.Rules.Ballots || !e.Definition.Rules.Registered {
		t.Fatalf("the identity does not apply to the President: %+v, %+v", e.Definition.Contests[i], e.Definition.Rules)
	}
	votes, ballots := map[string]int{}, map[string]int{}
	for _, row := range realdata.Table(t, publishedFile(t, dir, "results.csv")) {
		switch row["contest"] {
		case "president":
			votes[row["unit"]] += number(t, row["votes"])
		case string(schemas.BallotsCast):
			ballots[row["unit"]] += number(t, row["votes"])
		}
	}
	if len(votes) != 182 || !maps.Equal(votes, ballots) {
		t.Errorf("votes, over- and undervotes are not ballots cast in all of 182 units (%d have votes)", len(votes))
	}
	registered := map[string]int{}
	for _, row := range realdata.Table(t, results) {
		if row["office"] == "Registered Voters" {
			registered[strings.ToLower(row["county"])] += number(t, row["votes"])
		}
	}
	if registered["leon"] != 217454 || registered["sumter"] != 105612 {
		t.Errorf("registered voters of the input are %v", registered)
	}
}
