package simulator

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
	"tallystream/simulator/openelections"
	"tallystream/simulator/realdata"
)

// The tests here take real results through the importer to a definition, and
// from there to NIST SP 1500-100 v2 and back. Numbers are held against the
// ground-truth files, read by realdata_test.go.

// imported reads results of ../shared/data, or skips.
func imported(t *testing.T, name string) *openelections.Results {
	t.Helper()
	b, err := os.ReadFile(realdata.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := openelections.Import([]openelections.Source{openelections.Bytes(filepath.Base(name), b)}, openelections.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRealDefinitionsGoToCDFAndBackUnchanged(t *testing.T) {
	standard := cdfSchema(t)
	for _, name := range []string{"sc-2024-general/results.csv.gz", "fl-2020-leon-sumter/results.csv.gz"} {
		t.Run(name, func(t *testing.T) {
			r := imported(t, name)
			var report bytes.Buffer
			if err := cdf.NewExporter(r.Election()).Definition(&report, &cdf.Facts{Time: time.Unix(1_700_000_000, 0), Test: "rehearsal"}); err != nil {
				t.Fatal(err)
			}
			checkCDF(t, standard, report.Bytes())
			d, err := cdf.Import(&report, cdf.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r.Election().Definition, d); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if b, err := json.Marshal(d); err != nil || !bytes.Equal(b, r.Definition()) {
				t.Errorf("the definition has other bytes: %v", err)
			}
		})
	}
}

// cdfSchema is the JSON schema of the standard, or a skip that says why.
func cdfSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile(realdata.Path(t, "nist-sp1500-100-v2/NIST_V2_election_results_reporting.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("nist.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("nist.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func checkCDF(t *testing.T, s *jsonschema.Schema, b []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("not valid by the standard's schema: %.2000v", err)
	}
}

// cdfCounts reads the votes of a report by contest, selection and place, each
// by count type, as any reader of the standard would.
func cdfCounts(t *testing.T, b []byte, types []string) map[string]map[string]map[string][]int {
	t.Helper()
	var report struct {
		Election []struct {
			Contest []struct {
				ID               string `json:"@id"`
				ContestSelection []struct {
					ID         string `json:"@id"`
					VoteCounts []struct {
						GpUnitId, Type, OtherType string
						Count                     int
					}
				}
			}
		}
	}
	if err := json.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]map[string][]int{}
	for _, c := range report.Election[0].Contest {
		out[c.ID] = map[string]map[string][]int{}
		for _, s := range c.ContestSelection {
			places := map[string][]int{}
			out[c.ID][s.ID] = places
			for _, v := range s.VoteCounts {
				k := slices.Index(types, strings.TrimSuffix(v.Type+"-"+v.OtherType, "-"))
				if k < 0 {
					t.Fatalf("count type %q %q", v.Type, v.OtherType)
				}
				if places[v.GpUnitId] == nil {
					places[v.GpUnitId] = make([]int, len(types))
				}
				places[v.GpUnitId][k] += v.Count
			}
		}
	}
	return out
}

func TestSouthCarolinasReportsSumToTheGroundTruth(t *testing.T) {
	columns := []string{"early_voting", "election_day", "absentee_by_mail", "provisional", "failsafe_provisional", "failsafe"}
	types := []string{"early", "election-day", "absentee-mail", "provisional", "other-failsafe-provisional", "other-failsafe"}
	r := imported(t, "sc-2024-general/results.csv.gz")
	e := r.Election()
	rows := make([][]int64, len(e.Counties))
	for c := range rows {
		rows[c] = make([]int64, e.Counties[c].Cells)
	}
	for u := range e.Units {
		e.Fold(rows[e.Units[u].County], schemas.UnitIndex(u), nil, r.Cells(schemas.UnitIndex(u), nil))
	}
	x := cdf.NewExporter(e)
	facts := &cdf.Facts{Time: time.Unix(1_700_000_000, 0), Status: x.StatusOf(rows), Snapshot: 1, Log: 2446, ElectionType: cdf.GeneralElection}
	if facts.Status != cdf.UnofficialComplete {
		t.Errorf("status %s", facts.Status)
	}
	var summary bytes.Buffer
	if err := x.Summary(&summary, facts, rows); err != nil {
		t.Fatal(err)
	}
	checkCDF(t, cdfSchema(t), summary.Bytes())
	byCounty := cdfCounts(t, summary.Bytes(), types)
	want := map[string]map[string][]string{}
	for county, contests := range southCarolinaTruth(t, columns) {
		want[county] = map[string][]string{}
		for contest, candidates := range contests {
			for _, n := range candidates {
				want[county][contest] = append(want[county][contest], joinInts(n))
			}
		}
	}
	if len(want) != 46 {
		t.Fatalf("%d counties in the ground truth, want 46", len(want))
	}
	for c := range e.Counties {
		id := string(e.Counties[c].ID)
		var one bytes.Buffer
		if err := x.County(&one, facts, schemas.CountyIndex(c), func(u schemas.UnitIndex, dst []schemas.Count) ([]schemas.Count, error) {
			return r.Cells(u, dst), nil
		}); err != nil {
			t.Fatal(err)
		}
		if c == 0 {
			checkCDF(t, cdfSchema(t), one.Bytes())
		}
		summed, units := map[string][]string{}, map[string][]string{}
		for contest, selections := range byCounty {
			for _, places := range selections {
				if n, ok := places["place."+id]; ok {
					summed[contest] = append(summed[contest], joinInts(n))
				}
			}
		}
		for contest, selections := range cdfCounts(t, one.Bytes(), types) {
			for _, places := range selections {
				total := make([]int, len(types))
				for place, n := range places {
					if !strings.HasPrefix(place, "unit."+id+".") {
						t.Errorf("%s: a count of %s", id, place)
					}
					for k := range n {
						total[k] += n[k]
					}
				}
				units[contest] = append(units[contest], joinInts(total))
			}
		}
		if d := cmp.Diff(bagOf(want[id]), bagOf(summed)); d != "" {
			t.Errorf("%s: the summary is not the ground truth (-want +got)\n%s", id, d)
		}
		if d := cmp.Diff(bagOf(want[id]), bagOf(units)); d != "" {
			t.Errorf("%s: its units do not sum to the ground truth (-want +got)\n%s", id, d)
		}
	}
	checkStateSums(t, byCounty)
}

// checkStateSums: wherever a contest has a state's number, it is the sum of its
// counties', and every contest of several counties has one.
func checkStateSums(t *testing.T, contests map[string]map[string]map[string][]int) {
	t.Helper()
	states := 0
	for contest, selections := range contests {
		for selection, places := range selections {
			state, several := places["place.sc"]
			if several != (len(places) > 1) {
				t.Errorf("%s: %d places, and a state's number is %v", selection, len(places), several)
			}
			if !several {
				continue
			}
			states++
			sum := make([]int, len(state))
			for _, place := range slices.Sorted(maps.Keys(places)) {
				if place != "place.sc" {
					for k, n := range places[place] {
						sum[k] += n
					}
				}
			}
			if !slices.Equal(sum, state) {
				t.Errorf("%s, %s: counties sum to %v, the state has %v", contest, selection, sum, state)
			}
		}
	}
	if states < 20 {
		t.Errorf("only %d selections have a state's number", states)
	}
}
