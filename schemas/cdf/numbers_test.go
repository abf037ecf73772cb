package cdf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

// readReport is a report as a general reader of the standard sees it.
type readReport struct {
	Status, Notes, GeneratedDate, Format string
	SequenceStart, SequenceEnd           int
	GpUnit                               []struct {
		ID                              string `json:"@id"`
		SubUnitsReported, TotalSubUnits *int64
	}
	Election []struct {
		BallotCounts []struct {
			readCount
			BallotsCast int64
		}
		Contest []struct {
			ID                              string `json:"@id"`
			ElectionDistrictId              string
			SubUnitsReported, TotalSubUnits int64
			ContestSelection                []struct {
				ID         string `json:"@id"`
				VoteCounts []struct {
					readCount
					Count int64
				}
			}
			OtherCounts []struct {
				GpUnitId              string
				Undervotes, Overvotes int64
			}
		}
	}
}

type readCount struct{ GpUnitId, Type, OtherType string }

func (c readCount) String() string {
	if c.OtherType != "" {
		return c.GpUnitId + " " + c.Type + "-" + c.OtherType
	}
	return c.GpUnitId + " " + c.Type
}

func parse(t testing.TB, b []byte) *readReport {
	t.Helper()
	r := new(readReport)
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// figures lists every number of a report under a name.
func (r *readReport) figures(t testing.TB) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	put := func(key string, n int64) {
		if _, ok := out[key]; ok {
			t.Errorf("%s is counted twice", key)
		}
		out[key] = n
	}
	for _, b := range r.Election[0].BallotCounts {
		put("ballots "+b.String(), b.BallotsCast)
	}
	for _, c := range r.Election[0].Contest {
		put("reported "+c.ID, c.SubUnitsReported)
		for _, s := range c.ContestSelection {
			for _, v := range s.VoteCounts {
				put(s.ID+" "+v.String(), v.Count)
			}
		}
		for _, o := range c.OtherCounts {
			put("under "+c.ID+" "+o.GpUnitId, o.Undervotes)
			put("over "+c.ID+" "+o.GpUnitId, o.Overvotes)
		}
	}
	return out
}

// expected adds up the same figures from the rows of units alone. places names
// the places that a unit counts for.
func expected(ts *tallies, units []schemas.UnitIndex, places func(u schemas.UnitIndex, contest schemas.ContestIndex) []string) map[string]int64 {
	e, out := ts.election, map[string]int64{}
	types := e.Definition.CountTypes
	for _, u := range units {
		for i := range e.Units[u].Style.Sections {
			s := &e.Units[u].Style.Sections[i]
			id := "contest." + string(e.ContestID(s.Contest))
			if s.Contest != schemas.BallotsIndex {
				out["reported "+id] += 0
			}
			if ts.units[u] == nil || ts.units[u][s.Offset] == 0 {
				continue
			}
			cells := ts.units[u][s.Offset+1:]
			if s.Contest != schemas.BallotsIndex {
				out["reported "+id]++
			}
			for _, place := range places(u, s.Contest) {
				for k := range int(s.Selections) {
					for t, name := range types {
						key := "ballots "
						if s.Contest != schemas.BallotsIndex {
							key = "selection." + string(e.ContestID(s.Contest)) + ".S." + string(e.Definition.Contests[s.Contest].Selections[k].ID) + " "
						}
						out[key+place+" "+string(name)] += int64(cells[k*len(types)+t])
					}
				}
				for t := range types {
					if s.Residuals {
						out["under "+id+" "+place] += int64(cells[int(s.Selections)*len(types)+t])
						out["over "+id+" "+place] += int64(cells[(int(s.Selections)+1)*len(types)+t])
					}
				}
			}
		}
	}
	return out
}

func allUnits(e *schemas.Election) []schemas.UnitIndex {
	out := make([]schemas.UnitIndex, len(e.Units))
	for i := range out {
		out[i] = schemas.UnitIndex(i)
	}
	return out
}

// wide says where a contest of the example lies beside its counties: president
// and ballots in all, the others in one state.
func wide(contest schemas.ContestID) (state, whole bool) {
	switch contest {
	case "president", schemas.BallotsCast:
		return true, true
	case "council.s":
		return false, false
	}
	return true, false
}

func TestASummaryHoldsEveryCountyAndTheSumsOfEveryWiderPlaceOnce(t *testing.T) {
	e := open(t, example())
	for name, reported := range map[string]func(schemas.UnitIndex) bool{"some": func(u schemas.UnitIndex) bool { return u != 1 && u != 4 }, "all": all} {
		ts := tally(e, reported)
		want := expected(ts, allUnits(e), func(u schemas.UnitIndex, c schemas.ContestIndex) []string {
			d := e.Definition.Counties[e.Units[u].County]
			places := []string{"place." + string(d.ID)}
			state, whole := wide(e.ContestID(c))
			if state && d.State == "oz" {
				places = append(places, "place.oz")
			}
			if whole {
				places = append(places, "place.oz-2026")
			}
			return places
		})
		want["reported contest.nowhere"] = 0
		r := parse(t, summary(t, ts, facts(cdf.UnofficialPartial)))
		if d := cmp.Diff(want, r.figures(t)); d != "" {
			t.Errorf("%s reported (-want +got)\n%s", name, d)
		}
		for _, u := range r.GpUnit {
			if u.ID == "place.emerald" && (*u.TotalSubUnits != 3 || name == "some" && *u.SubUnitsReported != 2) {
				t.Errorf("%s: %d of %d reported", u.ID, *u.SubUnitsReported, *u.TotalSubUnits)
			}
		}
	}
}

func TestACountysReportHoldsItsUnitsCountsAndNoSums(t *testing.T) {
	e := open(t, example())
	ts := tally(e, func(u schemas.UnitIndex) bool { return u != 2 })
	for c := range e.Counties {
		want := expected(ts, e.Counties[c].Units, func(u schemas.UnitIndex, _ schemas.ContestIndex) []string {
			return []string{"unit." + string(e.Units[u].ID)}
		})
		r := parse(t, county(t, ts, facts(cdf.UnofficialPartial), schemas.CountyIndex(c)))
		if d := cmp.Diff(want, r.figures(t)); d != "" {
			t.Errorf("county %s (-want +got)\n%s", e.Counties[c].ID, d)
		}
		if r.Format != "precinct-level" || r.SequenceStart != c+1 || r.SequenceEnd != 3 {
			t.Errorf("county %s: %s, part %d of %d", e.Counties[c].ID, r.Format, r.SequenceStart, r.SequenceEnd)
		}
	}
}

func TestAContestsDistrictIsThePlaceWhereExactlyItsVotersLive(t *testing.T) {
	e := open(t, example())
	want := map[string]string{
		"contest.president": "place.oz-2026", "contest.measure": "place.oz", "contest.judge": "place.oz", "contest.nowhere": "place.oz-2026",
		"contest.council": "district.council", "contest.council.s": "district.council.s", "contest.straight": "district.straight",
	}
	got := map[string]string{}
	for _, c := range parse(t, preElection(t, e)).Election[0].Contest {
		got[c.ID] = c.ElectionDistrictId
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestADistrictIsMadeOfPrecinctsNotOfBookkeeping(t *testing.T) {
	d := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "e", Date: "2026-11-03", Origin: "e.example/e", CountTypes: []schemas.CountType{schemas.OtherCounts},
		Partitions: 1, Signatures: 1, States: []schemas.State{{ID: "st"}},
		Counties: []schemas.County{{ID: "a", State: "st"}, {ID: "b", State: "st"}, {ID: "mail", State: "st"}},
		Styles: []schemas.Style{
			{ID: "a", Contests: []schemas.ContestID{"a", "a-mail", "both"}}, {ID: "b", Contests: []schemas.ContestID{"both"}}, {ID: "mail", Contests: []schemas.ContestID{"a-mail"}},
		},
		Units: []schemas.Unit{
			{ID: "a.1", County: "a", Kind: schemas.PrecinctUnit, Style: "a"},
			{ID: "a.late", County: "a", Kind: schemas.AdministrativeUnit, Style: "b"}, // does not vote on a
			{ID: "b.1", County: "b", Kind: schemas.PrecinctUnit, Style: "b"},
			{ID: "mail.1", County: "mail", Kind: schemas.AdministrativeUnit, Style: "mail"},
		},
	}
	for _, id := range []schemas.ContestID{"a", "a-mail", "both"} {
		d.Contests = append(d.Contests, schemas.Contest{
			ID: id, Kind: schemas.BallotMeasureContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone, Selections: []schemas.Selection{{ID: "yes"}},
		})
	}
	got := map[string]string{}
	for _, c := range parse(t, preElection(t, open(t, d))).Election[0].Contest {
		got[c.ID] = c.ElectionDistrictId
	}
	want := map[string]string{"contest.a": "place.a", "contest.a-mail": "district.a-mail", "contest.both": "place.st"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestTheSameFactsGiveTheSameBytes(t *testing.T) {
	first := reports(t)
	for range 3 {
		for name, b := range reports(t) {
			if !bytes.Equal(b, first[name]) {
				t.Errorf("%s differs from the first time", name)
			}
		}
	}
	r := parse(t, first["summary, some"])
	if r.GeneratedDate != "2026-11-04T02:04:05Z" || r.Notes != "Held submissions, which change no number here: 3 (count-lowered 2, identity-broken 1). "+
		"Entries that lowered a number: 4; corrections.ndjson says which, by how much, why and signed by whom." {
		t.Errorf("date %s, notes %q", r.GeneratedDate, r.Notes)
	}
}

func TestAWriterThatFailsIsReported(t *testing.T) {
	e := open(t, example())
	ts, x := tally(e, all), cdf.NewExporter(e)
	for name, write := range map[string]func(io.Writer) error{
		"summary":    func(w io.Writer) error { return x.Summary(w, facts(cdf.Certified), ts.counties) },
		"county":     func(w io.Writer) error { return x.County(w, facts(cdf.Certified), 0, ts.row) },
		"definition": func(w io.Writer) error { return x.Definition(w, facts(cdf.Certified)) },
	} {
		if err := write(iotest.TruncateWriter(failing{}, 10)); !errors.Is(err, errFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var errFull = errors.New("the disk is full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestFactsAndRowsThatDoNotFitAreRefused(t *testing.T) {
	e := open(t, example())
	ts, x := tally(e, all), cdf.NewExporter(e)
	bad := func(change func(*cdf.Facts)) *cdf.Facts { f := facts(cdf.Certified); change(f); return f }
	for want, write := range map[string]func() error{
		`status "done"`: func() error { return x.Summary(io.Discard, bad(func(f *cdf.Facts) { f.Status = "done" }), ts.counties) },
		`status "pre-election"`: func() error {
			return x.Summary(io.Discard, bad(func(f *cdf.Facts) { f.Status = cdf.PreElection }), ts.counties)
		},
		"want \"unofficial-partial\"": func() error {
			return x.County(io.Discard, bad(func(f *cdf.Facts) { f.Status = cdf.PreElection }), 0, ts.row)
		},
		`election type "any"`: func() error {
			return x.Summary(io.Discard, bad(func(f *cdf.Facts) { f.ElectionType = "any" }), ts.counties)
		},
		"time": func() error {
			return x.Summary(io.Discard, bad(func(f *cdf.Facts) { f.Time = f.Time.AddDate(9000, 0, 0) }), ts.counties)
		},
		"2 rows": func() error { return x.Summary(io.Discard, facts(cdf.Certified), ts.counties[:2]) },
		"row of county emerald": func() error {
			return x.Summary(io.Discard, facts(cdf.Certified), [][]int64{ts.counties[0][1:], ts.counties[1], ts.counties[2]})
		},
		"county 3 of 3": func() error { return x.County(io.Discard, facts(cdf.Certified), 3, ts.row) },
		"unit emerald.1": func() error {
			return x.County(io.Discard, facts(cdf.Certified), 0, func(schemas.UnitIndex, []schemas.Count) ([]schemas.Count, error) { return []schemas.Count{1}, nil })
		},
	} {
		if err := write(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %s", err, want)
		}
	}
}
