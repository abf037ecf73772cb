package script

import (
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"tallystream/schemas"
	"tallystream/simulator/elections"
	"tallystream/simulator/realdata"
)

// pollsClose is 8 p.m. in Michigan's greater part.
var pollsClose = time.Date(2020, 11, 4, 1, 0, 0, 0, time.UTC)

func hours(t *testing.T, layout, s string) float64 {
	t.Helper()
	at, err := time.Parse(layout, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.Sub(pollsClose).Hours()
}

func deciles(sorted []float64) curve {
	var c curve
	for i := range c {
		c[i] = math.Round(sorted[i*(len(sorted)-1)/(len(c)-1)]*100) / 100
	}
	return c
}

func count(t *testing.T, s string) float64 {
	t.Helper()
	if s == "" {
		return 0
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (c curve) scaled(by float64) curve {
	for i := range c {
		c[i] = math.Round(c[i]*by*100) / 100
	}
	return c
}

// earliest keeps the first time of each key.
type earliest map[string]float64

func (e earliest) see(k string, at float64) {
	if first, ok := e[k]; !ok || at < first {
		e[k] = at
	}
}

func (e earliest) curve(within float64) curve {
	var all []float64
	for _, at := range e {
		if at <= within {
			all = append(all, at)
		}
	}
	slices.Sort(all)
	return deciles(all)
}

func TestCurvesAreThoseOfTheData(t *testing.T) {
	counties, any, onDays, absentee := earliest{}, earliest{}, earliest{}, earliest{}
	for _, r := range realdata.Table(t, realdata.Path(t, "mi-2020-timeseries/changes.csv.gz")) {
		if count(t, r["votes"]) == 0 {
			continue
		}
		at, unit := hours(t, time.RFC3339, r["timestamp"]), r["county"]+"/"+r["precinct"]
		counties.see(r["county"], at)
		any.see(unit, at)
		switch r["vote_type"] {
		case "electionday":
			onDays.see(unit, at)
		case "absentee":
			absentee.see(unit, at)
		}
	}
	got := [phases]curve{beforeDay: counties.curve(24).scaled(earlyPace), onDay: onDays.curve(math.Inf(1)),
		afterDay: absentee.curve(math.Inf(1)), atOnce: any.curve(24), lastly: lateVotes(t)}
	for p := range got {
		t.Logf("phase %d: %v", p, got[p])
		if got[p] != measured[p] {
			t.Errorf("phase %d: the data has %v, the code %v", p, got[p], measured[p])
		}
	}
}

// lateVotes is when the votes that states added after the first morning came.
func lateVotes(t *testing.T) curve {
	rows := realdata.Table(t, realdata.Path(t, "us-2020-state-timeline/all-state-changes.csv.gz"))
	slices.SortStableFunc(rows, func(a, b map[string]string) int {
		switch {
		case a["timestamp"] < b["timestamp"]:
			return -1
		case a["timestamp"] > b["timestamp"]:
			return 1
		}
		return 0
	})
	type addition struct{ at, votes float64 }
	var added []addition
	most, total := map[string]float64{}, 0.0
	for _, r := range rows {
		n := count(t, r["total_votes_count"])
		before, known := most[r["state"]]
		most[r["state"]] = max(before, n)
		if known && n > before {
			added = append(added, addition{hours(t, "2006-01-02 15:04:05.999999", r["timestamp"]), n - before})
			total += n - before
		}
	}
	var c curve
	sum, next := 0.0, 0
	for _, a := range added {
		sum += a.votes
		for next < len(c) && sum >= float64(next)*0.1*total-0.5 {
			c[next] = math.Round(a.at)
			next++
		}
	}
	return c
}

func TestArrivalsFollowTheCurves(t *testing.T) {
	c := newCurves(20 * time.Hour)
	var at [phases][]float64
	const n = 20_000
	for seed := range uint64(n) {
		d := elections.DrawOf(3, seed)
		arrivals := c.draw(&d)
		for p := range arrivals {
			at[p] = append(at[p], arrivals[p].Hours())
			if p > 0 && phase(p) != atOnce && arrivals[p] < arrivals[p-1] {
				t.Fatalf("seed %d: phase %d comes before the one before it", seed, p)
			}
			if arrivals[p] < 0 || arrivals[p] > c.span {
				t.Fatalf("seed %d: phase %d arrives after %v", seed, p, arrivals[p])
			}
		}
	}
	for _, p := range []phase{beforeDay, atOnce, lastly} { // the others are pushed by earlier phases
		slices.Sort(at[p])
		want := place(p, measured[p].at(0.5)) * c.span.Hours()
		if got := at[p][n/2]; math.Abs(got-want) > 0.05*c.span.Hours()/20+0.05*want {
			t.Errorf("phase %d: median %.2f h, want %.2f", p, got, want)
		}
	}
}

func TestStagesStateMoreAndMore(t *testing.T) {
	types := []schemas.CountType{schemas.Early, schemas.ElectionDay, "absentee", schemas.Provisional, "other-failsafe", schemas.OtherCounts}
	for revisions, want := range map[int][]int{1: {6}, 2: {3, 6}, 3: {1, 3, 6}, 4: {1, 3, 4, 6}, 6: {1, 3, 4, 6, 6, 6}} {
		stages := stagesOf(types, revisions)
		if len(stages) != revisions {
			t.Fatalf("%d revisions make %d stages", revisions, len(stages))
		}
		for i, st := range stages {
			n := 0
			for k, stated := range st.stated {
				if stated {
					n++
				}
				if i > 0 && stages[i-1].stated[k] && !stated {
					t.Errorf("%d revisions: stage %d takes %s back", revisions, i, types[k])
				}
			}
			if n != want[i] || st.full != (n == len(types)) {
				t.Errorf("%d revisions: stage %d states %d count types, want %d", revisions, i, n, want[i])
			}
		}
	}
	for _, st := range stagesOf([]schemas.CountType{"absentee"}, 3) {
		if !st.full {
			t.Error("a stage states nothing")
		}
	}
}

// A contest that adds up at one stage and not at a later one would be missing
// there, and held.
func TestAContestIsStatedOnlyIfItStays(t *testing.T) {
	s := &Script{stages: stagesOf([]schemas.CountType{schemas.Early, schemas.ElectionDay, schemas.AbsenteeMail}, 3)}
	for _, c := range []struct {
		gaps []int64
		want [3]bool
	}{
		{[]int64{0, 0, 0}, [3]bool{true, true, true}},
		{[]int64{0, 4, -4}, [3]bool{false, false, true}},
		{[]int64{4, -4, 0}, [3]bool{false, true, true}},
	} {
		for i, want := range c.want {
			if got := s.closed(i, c.gaps); got != want {
				t.Errorf("gaps %v, stage %d: %v, want %v", c.gaps, i, got, want)
			}
		}
	}
}
