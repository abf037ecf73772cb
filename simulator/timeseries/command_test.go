package timeseries

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tallystream/schemas"
)

// small has in a few rows what Michigan has: a vote too many, a precinct that
// falls to nothing, and a city that comes again under its county, once with the
// numbers that count and once with those that supervisors had to decide about.
const small = `timestamp,county,precinct,fips,vote_type,votes,votes_a,votes_b
2020-11-03T20:00:00Z,city-of-x,p1,26163,total,10,6,4
2020-11-03T20:00:00Z,city-of-x,p2,26163,total,20,12,8
2020-11-03T20:00:00Z,kent,k1,26081,total,5,4,1
2020-11-03T20:00:00Z,kent,k2,26081,total,50,30,20
2020-11-03T21:00:00Z,city-of-x,p1,26163,total,9,6,3
2020-11-03T21:00:00Z,kent,k2,26081,total,0,0,0
2020-11-03T22:00:00Z,wayne,p1,26163,total,9,6,3
2020-11-03T22:00:00Z,wayne,p2,26163,total,20,12,8
2020-11-03T22:00:00Z,kent,k1,26081,total,7,5,2
`

func replayed(t *testing.T, c Command, series string) (*Report, string, error) {
	t.Helper()
	dir := t.TempDir()
	c.Series, c.Report = filepath.Join(dir, "changes.csv"), filepath.Join(dir, "report.json")
	if err := os.WriteFile(c.Series, []byte(series), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := c.run(t.Context(), &out, slog.New(slog.DiscardHandler))
	report := new(Report)
	if b, reading := os.ReadFile(c.Report); reading == nil {
		if err := json.Unmarshal(b, report); err != nil {
			t.Fatal(err)
		}
	}
	return report, out.String(), err
}

func TestASmallSeriesIsReplayed(t *testing.T) {
	bucket := filepath.Join(t.TempDir(), "public")
	c := Command{Twins: 1, Speed: "1e9", Every: 1, Copies: true, Listen: "127.0.0.1:0", Out: bucket}
	r, out, err := replayed(t, c, small)
	if err != nil || !r.Good() || !strings.Contains(out, "AGREED") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := [4]int64{r.Replayed.Total(), r.Ended.Total(), r.Twice.Total(), r.Ended.Votes["a"]}; got != [4]int64{86, 36, 65, 23} {
		t.Errorf("votes when replayed, ended, with copies twice, and of a: %d, want 86, 36, 65, 23", got)
	}
	if r.Statements != 9 || r.Moments != 3 || r.Releases != 1 || r.Corrections != 1 || r.Copies != 2 || r.Falls != 0 {
		t.Errorf("%+v", r)
	}
	want := []HoldRow{
		{Code: schemas.HoldLowered, Label: "city-of-x", Holds: 1, Decreases: 1, Superseded: 1},
		{Code: schemas.HoldLowered, Label: "kent", Holds: 1, Decreases: 1, Released: 1},
		{Code: schemas.HoldTwin, Label: "wayne", Holds: 2, Copies: 2, Open: 2},
	}
	if len(r.Holds.Rows) != len(want) || r.Holds.Decreases != 2 || len(r.Holds.NotHeld) > 0 {
		t.Fatalf("%+v", r.Holds)
	}
	for i := range want {
		if r.Holds.Rows[i] != want[i] {
			t.Errorf("row %d is %+v, want %+v", i, r.Holds.Rows[i], want[i])
		}
	}
	var again usageError
	if _, _, err := replayed(t, c, small); !errors.As(err, &again) || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into the same bucket: %v", err)
	}
}

func TestReplayNamesAWrongFlag(t *testing.T) {
	good := Command{Twins: 1, Speed: "max", Every: 1}
	for name, c := range map[string]struct {
		change func(*Command)
		series string
		want   string
	}{
		"a speed of words":   {func(c *Command) { c.Speed = "fast" }, small, `--speed "fast"`},
		"a speed of nothing": {func(c *Command) { c.Speed = "0" }, small, `--speed "0"`},
		"fewer than none":    {func(c *Command) { c.Twins = -1 }, small, "--twins"},
		"never":              {func(c *Command) { c.Every = 0 }, small, "--every"},
		"no series":          {func(*Command) {}, "", "want a header"},
	} {
		command := good
		c.change(&command)
		_, _, err := replayed(t, command, c.series)
		var usage usageError
		if !errors.As(err, &usage) || usage.ExitCode() != 2 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a usage error about %s", name, err, c.want)
		}
	}
}
