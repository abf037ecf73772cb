package timeseries_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tallystream/schemas"
	"tallystream/simulator/realdata"
	"tallystream/simulator/timeseries"
)

// TestTheSeriesIsImportedExactly holds the statements, added up moment by moment,
// against the source's own cumulative totals at all of its 137 times.
func TestTheSeriesIsImportedExactly(t *testing.T) {
	s, err := timeseries.Import(filepath.Dir(data(t, "changes.csv.gz")), timeseries.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type key struct{ at, kind string }
	want, fell := map[key]map[string]string{}, map[string]int64{}
	var times []string
	for _, row := range realdata.Table(t, data(t, "snapshots.csv")) {
		want[key{row["timestamp"], row["vote_type"]}] = row
		if len(times) == 0 || times[len(times)-1] != row["timestamp"] {
			times = append(times, row["timestamp"])
		}
		fell[row["timestamp"]] = number(t, row["series_decreased"]) // of all vote types, in each of their rows
	}
	if len(times) != 137 || len(s.Moments) != 135 || s.Changes != 13_095 || s.Statements() != 9_365 || len(s.Places) != 4_093 {
		t.Errorf("%d times, %d moments, %d changes, %d statements, %d units", len(times), len(s.Moments), s.Changes, s.Statements(), len(s.Places))
	}
	e := s.Election
	row := make([][]int64, len(e.Counties))
	for i := range row {
		row[i] = make([]int64, e.Counties[i].Cells)
	}
	counted, next := make([][]schemas.Count, len(e.Units)), 0
	for _, at := range times {
		decreases := int64(0)
		if next < len(s.Moments) && s.Moments[next].At.Format("2006-01-02T15:04:05.000Z07:00") == at {
			for _, st := range s.Moments[next].Statements {
				e.Fold(row[e.Units[st.Unit].County], st.Unit, counted[st.Unit], st.Cells)
				counted[st.Unit] = st.Cells
				decreases += int64(st.Fell)
			}
			next++
		}
		if decreases != fell[at] {
			t.Errorf("%s: %d series fell, want %d", at, decreases, fell[at])
		}
		sums := map[string]int64{} // by vote type and candidate
		for i := range row {
			first := int(e.Counties[i].Sections[1].Offset) + 1
			for k, n := range row[i][first:] {
				kind, name := voteTypes[k%len(voteTypes)], names[k/len(voteTypes)]
				sums["total "+name] += n
				if kind != "total" {
					sums[kind+" "+name] += n
				}
			}
		}
		for _, kind := range voteTypes {
			for _, name := range names {
				if got := sums[kind+" "+name]; fmt.Sprint(got) != want[key{at, kind}]["votes_"+name] {
					t.Errorf("%s: %s %s is %d, want %s", at, kind, name, got, want[key{at, kind}]["votes_"+name])
				}
			}
		}
	}
	if next != len(s.Moments) {
		t.Errorf("%d of %d moments are times of the source", next, len(s.Moments))
	}
}

const header = "timestamp,county,precinct,fips,vote_type,votes,votes_biden,votes_trump\n"

func imported(t *testing.T, text string) (*timeseries.Series, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "changes.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return timeseries.Import(path, timeseries.Options{Twins: 5})
}

func TestASeriesBecomesStatementsOfUnits(t *testing.T) {
	s, err := imported(t, header+
		"2020-11-03T20:00:00Z,wayne,\"a,-1\",26163,total,7,4,3\n"+
		"2020-11-03T20:00:00Z,wayne,\"a,-1\",26163,absentee,2,1,1\n"+
		"2020-11-03T21:00:00Z,city-of-x,b,,total,1,1,0\n"+
		"2020-11-03T21:00:00Z,city-of-x,\"a,-1\",26163,total,7,4,3\n"+
		"2020-11-03T22:00:00Z,wayne,\"a,-1\",26163,total,6,4,2\n")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, m := range s.Moments {
		for _, st := range m.Statements {
			fmt.Fprintf(&got, "%s %s %s %d fell %d\n", m.At.Format("15:04"), s.Election.Units[st.Unit].ID, st.Revision, st.Cells[2:], st.Fell)
		}
	}
	// Of each candidate: election day, absentee, and what the total has beyond them.
	want := "20:00 wayne.a-1 1 [0 1 3 0 1 2] fell 0\n" +
		"21:00 city-of-x.b 1 [0 0 1 0 0 0] fell 0\n" +
		"21:00 city-of-x.a-1 1 [0 0 4 0 0 3] fell 0\n" +
		"22:00 wayne.a-1 2 [0 1 3 0 1 1] fell 1\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	if d := s.Election.Definition; len(d.Counties) != 1 || d.Counties[0].ID != "wayne" || d.Rules.Outliers.Twins.Least != 5 {
		t.Errorf("counties %v, rules %+v: want all of one FIPS code in one county", d.Counties, d.Rules.Outliers)
	}
	for u, p := range s.Places {
		of := s.Election.Units[p.CopyOf].ID
		if id := s.Election.Units[u].ID; (id == "city-of-x.a-1") != (of != id) || id == "city-of-x.a-1" && of != "wayne.a-1" {
			t.Errorf("%s is a copy of %s", id, of)
		}
	}
}

func TestRowsThatCannotBeReplayedAreNamed(t *testing.T) {
	good := "2020-11-03T20:00:00Z,wayne,a,26163,total,7,4,3\n"
	for name, c := range map[string]struct {
		text string
		line int
		want string
	}{
		"nothing":              {"", 1, "want a header"},
		"a column too many":    {"weather," + header, 1, `"weather" is not understood`},
		"a column twice":       {"votes," + header, 1, "stands twice"},
		"no fips":              {strings.Replace(header, "fips,", "", 1), 1, `no column "fips"`},
		"no candidate":         {"timestamp,county,precinct,fips,vote_type,votes\n", 1, "no column votes_ with a candidate"},
		"no time":              {header + strings.Replace(good, "2020-11-03T20", "noon", 1), 2, "want RFC 3339"},
		"back in time":         {header + good + strings.Replace(good, "T20", "T19", 1), 3, "order of time"},
		"no precinct":          {header + strings.Replace(good, ",a,", ",,", 1), 2, "want a county and a precinct"},
		"a fraction":           {header + strings.Replace(good, ",4,", ",4.5,", 1), 2, "votes_biden \"4.5\": want a whole number"},
		"a negative":           {header + strings.Replace(good, ",4,", ",-4,", 1), 2, "want a whole number"},
		"a count beyond all":   {header + strings.Replace(good, ",4,", ",400000000,", 1), 2, "want a whole number"},
		"a sum that is wrong":  {header + strings.Replace(good, ",7,", ",8,", 1), 2, "votes is 8, the candidates have 7"},
		"an unknown vote type": {header + strings.Replace(good, "total", "early", 1), 2, `vote_type "early"`},
		"a row twice":          {header + good + good, 3, "stands twice at this time, first in line 2"},
		"two codes":            {header + good + strings.Replace(good, "a,26163", "b,26164", 1), 3, `FIPS "26163" and "26164"`},
		"no code at all":       {header + strings.Replace(good, "26163", "", 1), 2, "FIPS code"},
		"parts beyond a total": {header + good + strings.Replace(good, "total,7,4,3", "absentee,8,5,3", 1), 3, "its total has 4 votes"},
		"no identifier":        {header + strings.Replace(good, ",a,", ",ä,", 1), 2, "makes the identifier"},
		"two of one":           {header + good + strings.Replace(good, ",a,", `,"a,",`, 1), 3, "or another's"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := imported(t, c.text)
			var at *timeseries.LineError
			if !errors.As(err, &at) || at.Line != c.line || !strings.Contains(at.Want, c.want) {
				t.Errorf("%v, want line %d: %s", err, c.line, c.want)
			}
		})
	}
	if _, err := imported(t, header+"2020-11-03T20:00:00Z,wayne,a\n"); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a short row: %v", err)
	}
	if _, err := timeseries.Import(t.TempDir(), timeseries.Options{}); err == nil || !strings.Contains(err.Error(), "changes.csv") {
		t.Errorf("an empty directory: %v", err)
	}
}
