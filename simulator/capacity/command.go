package capacity

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

// sizes are nights as people have them. Districts are those of the generated
// elections, and so is the largest county's share.
var sizes = map[string]Night{
	"county": {Units: 150, Contests: 32, Counties: 1, Partitions: 1, Districts: 0, LargestCounty: 1, Viewers: 2_000, PageLoads: 100_000},
	"state":  {Units: 2_500, Contests: 30, Counties: 60, Partitions: 8, Districts: 100, LargestCounty: 0.1, Viewers: 50_000, PageLoads: 3_000_000},
	"us":     {Units: 180_000, Contests: 30, Counties: 3_143, Partitions: 16, Districts: 4_000, LargestCounty: 0.02, Viewers: 1_000_000, PageLoads: 100_000_000},
}

// Command is `tallystream capacity`.
type Command struct {
	Size          string             `help:"What the flags that are not given come from: county, state or us." enum:"county,state,us" default:"state"`
	Units         float64            `help:"Units that report." placeholder:"N"`
	Contests      float64            `help:"Contests on a unit's ballot." placeholder:"N"`
	Counties      float64            `help:"Counties." placeholder:"N"`
	Districts     float64            `help:"Contests that several counties vote on." placeholder:"N" default:"-1"`
	Partitions    float64            `help:"Partitions of the definition." placeholder:"N"`
	LargestCounty float64            `help:"Share of the units that the largest county has." placeholder:"SHARE"`
	Revisions     int                `help:"Submissions of each unit." default:"3"`
	Hours         float64            `help:"Hours in which they come." default:"20"`
	Curve         string             `help:"How they come: measured (2020), flat, or one-hour." enum:"measured,flat,one-hour" default:"measured"`
	Peak          float64            `help:"Submissions a second at the peak, instead of the curve's." placeholder:"N"`
	Viewers       float64            `help:"Live viewers at once." placeholder:"N" default:"-1"`
	PageLoads     float64            `help:"Pages that are loaded in the night." placeholder:"N" default:"-1"`
	Prices        string             `help:"JSON file with prices in dollars by name, such as {\"kinesis-shard-hour\": 0.018}." type:"existingfile" placeholder:"FILE"`
	Price         map[string]float64 `help:"A price in dollars by its name; may be repeated." placeholder:"NAME=DOLLARS"`
	ListPrices    bool               `help:"Print the prices and where they are from, and end."`
	JSON          bool               `name:"json" help:"Print JSON."`
}

// Help is the longer text of --help.
func (Command) Help() string {
	return `Says on paper what a night needs on AWS and what it costs: shards, write units, warm throughput, requests, nodes and dollars, each with its formula and
source. Sizes are measured ones; prices are list prices, to be checked against the pages that they name.

Examples:
  tallystream capacity --size us
  tallystream capacity --units 5000 --contests 25 --peak 400 --viewers 100000
  tallystream capacity --size us --price dynamodb-write-unit=0.0000007 --json`
}

// usage is an error of the flags.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// ExitCode is that of the command.
func (usage) ExitCode() int { return 2 }

// Run plans and prints.
func (c *Command) Run(_ context.Context, _ *slog.Logger) error {
	prices, err := c.prices()
	if err != nil {
		return usage{err}
	}
	if c.ListPrices {
		return encode(os.Stdout, prices)
	}
	n, err := c.night()
	if err != nil {
		return usage{err}
	}
	p, err := Make(n, prices)
	if err != nil {
		return usage{err}
	}
	if c.JSON {
		return encode(os.Stdout, p)
	}
	p.Print(os.Stdout)
	return nil
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (c *Command) prices() (Prices, error) {
	p := DefaultPrices()
	if c.Prices != "" {
		b, err := os.ReadFile(c.Prices)
		if err != nil {
			return nil, fmt.Errorf("reading prices: %w", err)
		}
		if err := p.OverrideJSON(b, c.Prices); err != nil {
			return nil, err
		}
	}
	return p, p.Override(c.Price, "--price")
}

// night is that of the size, with what the flags say.
func (c *Command) night() (Night, error) {
	n, ok := sizes[c.Size]
	if !ok {
		return n, fmt.Errorf("--size %q: want county, state or us", c.Size)
	}
	for _, f := range []struct {
		to    *float64
		value float64
		given bool
	}{
		{&n.Units, c.Units, c.Units != 0}, {&n.Contests, c.Contests, c.Contests != 0}, {&n.Counties, c.Counties, c.Counties != 0},
		{&n.Districts, c.Districts, c.Districts >= 0}, {&n.Partitions, c.Partitions, c.Partitions != 0}, {&n.LargestCounty, c.LargestCounty, c.LargestCounty != 0},
		{&n.Viewers, c.Viewers, c.Viewers >= 0}, {&n.PageLoads, c.PageLoads, c.PageLoads >= 0},
	} {
		if f.given {
			*f.to = f.value
		}
	}
	n.Revisions, n.Hours, n.Peak, n.PeakFactor = float64(c.Revisions), c.Hours, c.Peak, 1
	if err := n.Validate(); err != nil {
		return n, err
	}
	var err error
	n.PeakFactor, err = factorOf(c.Curve, c.Hours, c.Revisions)
	return n, err
}

// Print writes the plan for people.
func (p *Plan) Print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	part := ""
	var sources []string
	for i := range p.Lines {
		l := &p.Lines[i]
		if l.Part != part {
			part = l.Part
			fmt.Fprintf(t, "\n%s\t\t\t\n", part)
		}
		value := short(l.Value)
		if l.Unit == "$" {
			value = fmt.Sprintf("%.2f", l.Value)
		}
		fmt.Fprintf(t, "  %s\t%s %s\t= %s\t%s\n", l.Name, value, l.Unit, l.Formula, note(&sources, l.Source))
	}
	t.Flush()
	for _, warning := range p.Warnings {
		fmt.Fprintf(w, "\nNOTE: %s\n", warning)
	}
	fmt.Fprintln(w, "\nSources")
	for i, s := range sources {
		fmt.Fprintf(w, "  [%d] %s\n", i+1, s)
	}
}

// note numbers a source.
func note(sources *[]string, s string) string {
	if s == "" {
		return ""
	}
	for i, known := range *sources {
		if known == s {
			return fmt.Sprintf("[%d]", i+1)
		}
	}
	*sources = append(*sources, s)
	return fmt.Sprintf("[%d]", len(*sources))
}

// short spells a number with at most four digits that matter, and commas.
func short(x float64) string {
	if x != 0 && math.Abs(x) < 1000 {
		return strconv.FormatFloat(x, 'g', 4, 64)
	}
	s := strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}
