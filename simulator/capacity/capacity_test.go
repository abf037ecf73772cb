package capacity_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tallystream/simulator/capacity"
)

// country is the US at a peak that is given, in round numbers.
func country() capacity.Night {
	return capacity.Night{
		Units: 180_000, Contests: 30, Counties: 3200, Partitions: 16, Districts: 4000, Revisions: 3, Hours: 20, PeakFactor: 1, Peak: 400,
		LargestCounty: 0.02, Viewers: 1_000_000, PageLoads: 100_000_000,
	}
}

func plan(t interface{ Fatal(...any) }, n capacity.Night) *capacity.Plan {
	p, err := capacity.Make(n, capacity.DefaultPrices())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func figure(t interface{ Fatalf(string, ...any) }, p *capacity.Plan, name string) float64 {
	x, ok := p.Get(name)
	if !ok {
		t.Fatalf("the plan has no line %q", name)
	}
	return x
}

// TestAPlanIsWhatAPersonComputes: by hand, with the formulas of the lines.
func TestAPlanIsWhatAPersonComputes(t *testing.T) {
	p := plan(t, country())
	for name, want := range map[string]float64{
		"submissions":                       540_000,        // 180,000 x 3
		"average rate":                      7.5,            // / 72,000 s
		"peak rate":                         400,            // as given
		"bytes of a submission":             6050,           // 440 + 187 x 30
		"shards":                            4,              // 400 x 6,050 = 2.31 MiB/s; / 0.7 = 3.3
		"shards' hours":                     4 * 20 * 0.015, // dollars
		"puts":                              540_000 * 0.014e-6,
		"write units of a submission alone": 12,   // head 2, 1,824 B: 4, unit 2, 2,040 B: 4
		"warm throughput to ask for":        7000, // 400 x 10.8 x 1.5 = 6,470, in thousands
		"fanout nodes":                      14,   // 1,000,000 viewers / 80,000 a node = 12.5, up, and one
		"NATS nodes":                        3,
		"ingest tasks":                      2, // 400 x 500 us = 0.2 cores
	} {
		if got := figure(t, p, name); math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
}

// TestEachLineSaysHowItCame: a formula, and for dollars and limits the page.
func TestEachLineSaysHowItCame(t *testing.T) {
	sum := 0.0
	p := plan(t, country())
	for _, l := range p.Lines {
		if l.Formula == "" || l.Unit == "$" && l.Source == "" && l.Part != "Sum" {
			t.Errorf("%s: formula %q, source %q", l.Name, l.Formula, l.Source)
		}
		if l.Unit == "$" && l.Part != "Sum" {
			sum += l.Value
		}
		if math.IsNaN(l.Value) || l.Value < 0 {
			t.Errorf("%s is %g", l.Name, l.Value)
		}
	}
	if math.Abs(sum-p.Dollars) > 1e-6 || p.Dollars != figure(t, p, "dollars of the night") {
		t.Errorf("the lines add up to %g, the sum is %g", sum, p.Dollars)
	}
}

// TestMoreNeverCostsLess: monotony in each thing that a night has more of.
func TestMoreNeverCostsLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := country()
		n.Units = rapid.Float64Range(10, 1e6).Draw(t, "units")
		n.Contests = rapid.Float64Range(1, 200).Draw(t, "contests")
		n.Peak = rapid.Float64Range(100, 5000).Draw(t, "peak")
		n.Viewers = rapid.Float64Range(0, 1e7).Draw(t, "viewers")
		less := plan(t, n)
		by := rapid.Float64Range(1, 10).Draw(t, "by")
		which := rapid.SampledFrom([]string{"units", "contests", "peak", "viewers"}).Draw(t, "which")
		names := []string{"shards", "write units a second at the peak", "ingest tasks", "fanout nodes", "submissions", "warm throughput to ask for"}
		switch which {
		case "units":
			n.Units *= by
		case "contests":
			n.Contests *= by
		case "peak":
			n.Peak *= by
		case "viewers":
			n.Viewers *= by
		}
		more := plan(t, n)
		for _, name := range names {
			if a, b := figure(t, less, name), figure(t, more, name); b < a*(1-1e-9) {
				t.Errorf("%s fell from %g to %g with %g times the %s", name, a, b, by, which)
			}
		}
		if which == "viewers" && more.Dollars < less.Dollars {
			t.Errorf("dollars fell from %g to %g", less.Dollars, more.Dollars)
		}
	})
}

func TestAPriceIsReplacedAndSaysByWhom(t *testing.T) {
	prices := capacity.DefaultPrices()
	if err := prices.OverrideJSON([]byte(`{"kinesis-shard-hour": 1}`), "mine.json"); err != nil {
		t.Fatal(err)
	}
	p, err := capacity.Make(country(), prices)
	if err != nil {
		t.Fatal(err)
	}
	if got := figure(t, p, "shards' hours"); got != 4*20 {
		t.Errorf("%g $", got)
	}
	var out bytes.Buffer
	p.Print(&out)
	if !strings.Contains(out.String(), "mine.json") || strings.Contains(out.String(), "NaN") {
		t.Errorf("%s", out.String())
	}
	for _, bad := range []string{`{"kinesis-shard-year": 1}`, `{"s3-put": -1}`, `[]`} {
		if err := capacity.DefaultPrices().OverrideJSON([]byte(bad), "bad"); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestANightThatCannotBeIsRefused(t *testing.T) {
	for name, change := range map[string]func(*capacity.Night){
		"no units": func(n *capacity.Night) { n.Units = 0 }, "no hours": func(n *capacity.Night) { n.Hours = 0 },
		"half a county": func(n *capacity.Night) { n.Counties = 0.5 }, "a county larger than all": func(n *capacity.Night) { n.LargestCounty = 2 },
		"no number": func(n *capacity.Night) { n.Peak = math.NaN() }, "without end": func(n *capacity.Night) { n.Viewers = math.Inf(1) },
	} {
		n := country()
		change(&n)
		if _, err := capacity.Make(n, capacity.DefaultPrices()); err == nil {
			t.Errorf("%s was planned", name)
		}
	}
}

// TestAHotKeyIsWarnedOf: one county with everything, fast.
func TestAHotKeyIsWarnedOf(t *testing.T) {
	n := country()
	n.LargestCounty, n.Contests = 1, 200
	if p := plan(t, n); !strings.Contains(strings.Join(p.Warnings, "\n"), "busiest item") {
		t.Errorf("%q", p.Warnings)
	}
	if p := plan(t, country()); len(p.Warnings) != 0 {
		t.Errorf("%q", p.Warnings)
	}
}

func TestThePeakFactorIsTheBusiestBinOverTheAverage(t *testing.T) {
	minute := time.Minute
	for _, c := range []struct {
		at   []time.Duration
		want float64
	}{
		{nil, 1},
		{[]time.Duration{0, minute, 2 * minute, 3 * minute}, 1},
		{[]time.Duration{0, 1, 2, 3 * minute}, 3}, // three of four in one of four minutes
	} {
		if got := capacity.PeakFactor(c.at, 4*minute, minute); got != c.want {
			t.Errorf("%v: %g, want %g", c.at, got, c.want)
		}
	}
}
