package timeseries_test

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tallystream/publish/verify"
	"tallystream/simulator/realdata"
	"tallystream/simulator/timeseries"
)

var everyMoment = flag.Bool("timeseries", false, "wait for a snapshot after each of the 135 moments of the Michigan series, not only after those in which counts fall")

// replayMichigan replays it and returns the report, what is published, and what
// the model says.
func replayMichigan(t *testing.T) (*timeseries.Report, bucket, *model) {
	t.Helper()
	path := data(t, "changes.csv.gz")
	if testing.Short() {
		t.Skip("skipped: sends 9,365 statements; the small series is replayed")
	}
	series, err := timeseries.Import(path, timeseries.Options{Twins: timeseries.DefaultTwins})
	if err != nil {
		t.Fatal(err)
	}
	config := timeseries.ReplayConfig{
		Series: series, Seed: 26, Data: t.TempDir(), Bucket: t.TempDir(), Listen: "127.0.0.1:0", Every: len(series.Moments), Copies: true,
		Logger: slog.New(slog.DiscardHandler),
	}
	if *everyMoment {
		config.Every = 1
	}
	var out bytes.Buffer
	config.Out = &out
	report, err := timeseries.Replay(t.Context(), config)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := report.Print(&out); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", out.String())
	m := run(realdata.Table(t, path), timeseries.DefaultTwins, func(s string) int64 { return number(t, s) })
	return report, bucket{t, config.Bucket}, m
}

// TestMichiganIsReplayed is the night of Michigan through the real pipeline: what
// falls is held, what was sent twice is held, no published number falls until two
// supervisors say so, and the end is the series'.
func TestMichiganIsReplayed(t *testing.T) {
	report, public, m := replayMichigan(t)
	if !report.Good() || report.Verdict != verify.Verified {
		t.Errorf("%s\n%s", report.Verdict, strings.Join(report.Mismatches, "\n"))
	}
	if report.Falls != 0 || report.Movements.Fell == 0 || len(report.Movements.Wrong) > 0 {
		t.Errorf("%d numbers fell before anybody corrected any (want 0), %d in all (want some): %q", report.Falls, report.Movements.Fell, report.Movements.Wrong)
	}
	t.Run("what is held is what the model holds", func(t *testing.T) { holdsAre(t, public.holds(report), m) })
	t.Run("each of the 518 decreases is held", func(t *testing.T) { decreasesAreHeld(t, public.holds(report), m) })
	t.Run("Ingham does not fall to nothing", func(t *testing.T) { inghamStands(t, report, public, m) })
	t.Run("Detroit is held where it comes a second time", func(t *testing.T) { detroitIsHeld(t, public.holds(report), m) })
	t.Run("the end is the ground truth with Detroit once", func(t *testing.T) { endsAtTruth(t, report, public) })
	t.Run("a sum that counts Detroit twice is the naive one", func(t *testing.T) { twiceIsNaive(t, report, public) })
}

// held is a line of holds.ndjson.
type held struct{ unit, revision, code, state, twin string }

// holds are those of the snapshot at which supervisors had decided.
func (b bucket) holds(r *timeseries.Report) map[string]held {
	b.t.Helper()
	out := map[string]held{}
	for _, line := range b.lines(b.named(uint64(r.Ended.Snapshot), "holds.ndjson")) {
		twin, _ := line["twin"].(string)
		h := held{line["unit"].(string), fmt.Sprint(line["revision"]), line["code"].(string), line["state"].(string), twin}
		out[h.unit+" "+h.revision] = h
	}
	return out
}

// key is how a statement is found among holds.
func (f *fate) key() string { return fmt.Sprintf("%s %d", unit(f.precinct), f.revision) }

func unit(p precinct) string { return p.county + "." + strings.ReplaceAll(p.name, ",", "") }

func holdsAre(t *testing.T, holds map[string]held, m *model) {
	want, got := map[string]string{}, map[string]string{}
	for i := range m.fates {
		if f := &m.fates[i]; f.code != "" {
			want[f.key()] = f.code
		}
	}
	for k, h := range holds {
		got[k] = h.code
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-model +published)\n%s", d)
	}
	// After supervisors have decided only copies are open.
	for i := range m.fates {
		f := &m.fates[i]
		if h := holds[f.key()]; f.code != "" && (h.state == "open") != (m.copies[f.precinct] && f.code == "same-as-another") {
			t.Errorf("%s is %s", f.key(), h.state)
		}
	}
}

// decreasesAreHeld accounts for each line of decreases.csv, of which several may
// be one statement.
func decreasesAreHeld(t *testing.T, holds map[string]held, m *model) {
	statement := map[string]*fate{}
	for i := range m.fates {
		f := &m.fates[i]
		statement[f.at+" "+unit(f.precinct)] = f
	}
	all, statements := realdata.Table(t, data(t, "decreases.csv")), map[string]int{}
	for _, d := range all {
		f := statement[d["timestamp"]+" "+unit(precinct{d["county"], d["precinct"]})]
		if f == nil {
			t.Errorf("no statement has the decrease %v", d)
			continue
		}
		statements[f.key()]++
		if h := holds[f.key()]; h.code != "count-lowered" {
			t.Errorf("%s of %s, from %s to %s: %q", d["vote_type"], f.key(), d["votes_before"], d["votes_after"], h.code)
		}
	}
	if len(all) != 518 || len(statements) != 444 {
		t.Errorf("%d decreases in %d statements, want 518 in 444", len(all), len(statements))
	}
}

// inghamStands: 115 precincts fall to nothing and are held; the county's line
// stays where it was.
func inghamStands(t *testing.T, report *timeseries.Report, public bucket, m *model) {
	zero, stands := 0, tally{}
	for i := range m.fates {
		if f := &m.fates[i]; f.precinct.county == "ingham" && f.at == "2020-11-04T08:10:57.961Z" && f.code == "count-lowered" && m.last[f.precinct].sum() == 0 {
			zero++
		}
	}
	for p, votes := range m.counted {
		if p.county == "ingham" {
			for k, n := range votes {
				stands[k] += n
			}
		}
	}
	if zero != 115 || stands.sum() == 0 {
		t.Errorf("%d precincts of Ingham fell to nothing and were held, want 115; it stands at %d", zero, stands.sum())
	}
	if got := public.totals(uint64(report.Replayed.Snapshot), "county/ingham", "ingham"); !got.equal(stands) {
		t.Errorf("when the series ended Ingham had %v, want %v", got, stands)
	}
	if got := public.totals(uint64(report.Ended.Snapshot), "county/ingham", "ingham"); got.sum() != 0 {
		t.Errorf("when supervisors had released it Ingham had %d votes", got.sum())
	}
	t.Logf("Ingham stood at %d votes until supervisors released its nothing", stands.sum())
}

// detroitIsHeld: of the 637 precincts that come a second time each that has
// votes is held as the same as the first.
func detroitIsHeld(t *testing.T, holds map[string]held, m *model) {
	second, asTwin, none := 0, 0, 0
	for _, p := range m.first {
		first, ok := m.last[precinct{"city-of-detroit", p.name}]
		if p.county != "wayne" || !ok || !first.equal(m.last[p]) || !strings.HasPrefix(p.name, "city-of-detroit") {
			continue
		}
		second++
		switch h := holds[unit(p)+" 1"]; {
		case first.sum() == 0:
			none++
		case h.code == "same-as-another":
			asTwin++
			if h.twin == "" || !strings.HasPrefix(h.twin, "city-of-detroit.") {
				t.Errorf("%s is said to be the same as %q", unit(p), h.twin)
			}
		default:
			t.Errorf("%s counts twice: %v", unit(p), first)
		}
	}
	if second != 637 || asTwin != 629 {
		t.Errorf("%d precincts come a second time, want 637; %d are held for it, want 629", second, asTwin)
	}
	t.Logf("Detroit's %d precincts come a second time: %d are held as the same, %d have no votes", second, asTwin, none)
}

// truth sums final_by_county.csv, for the county's document of each name.
func truth(t *testing.T, detroit int64) map[string]tally {
	out := map[string]tally{}
	for _, row := range realdata.Table(t, data(t, "final_by_county.csv")) {
		county, times := row["county"], int64(1)
		switch county {
		case "city-of-detroit":
			county = "wayne"
		case "wayne":
			times = detroit - 1 // the same votes again
		}
		if out[county] == nil {
			out[county] = tally{}
		}
		for _, name := range names {
			n := times * number(t, row["votes_"+name])
			out[county][[2]string{row["vote_type"], name}] += n
			if row["vote_type"] != "total" {
				out[county][[2]string{"total", name}] -= n // published beside its parts, not with them
			}
		}
	}
	return out
}

func endsAtTruth(t *testing.T, report *timeseries.Report, public bucket) {
	want := truth(t, 1)
	if len(want) != 20 {
		t.Errorf("%d counties in the ground truth, want 20", len(want))
	}
	all := tally{}
	for _, county := range slices.Sorted(maps.Keys(want)) {
		if got := public.totals(uint64(report.Ended.Snapshot), "county/"+county, county); !got.equal(want[county]) {
			t.Errorf("%s ends at %v, want %v", county, got, want[county])
		}
		for k, n := range want[county] {
			all[k] += n
		}
	}
	if got := public.totals(uint64(report.Ended.Snapshot), "contest/president", "mi-2020-timeseries"); !got.equal(all) {
		t.Errorf("Michigan ends at %v, want %v", got, all)
	}
	t.Logf("the end: %d votes", all.sum())
}

// twiceIsNaive: with every copy released the sum is the one that the source's own
// totals give.
func twiceIsNaive(t *testing.T, report *timeseries.Report, public bucket) {
	for _, c := range []struct {
		name string
		want int64
	}{{"biden", 1_657_094}, {"trump", 1_194_220}, {"jorgensen", 28_704}, {"other", 15_804}} {
		n := int64(0)
		for k, votes := range public.totals(uint64(report.Twice.Snapshot), "contest/president", "mi-2020-timeseries") {
			if k[1] == c.name {
				n += votes
			}
		}
		if n != c.want {
			t.Errorf("%s has %d, want %d", c.name, n, c.want)
		}
	}
	want := truth(t, 2)
	if got := public.totals(uint64(report.Twice.Snapshot), "county/wayne", "wayne"); !got.equal(want["wayne"]) {
		t.Errorf("Wayne has %v, want %v", got, want["wayne"])
	}
}
