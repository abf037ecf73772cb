package simulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tallystream/schemas"
	"tallystream/service"
	"tallystream/simulator/elections"
	"tallystream/simulator/script"
)

// electionFlags say which night is played.
type electionFlags struct {
	More      []string `arg:"" optional:"" name:"results" help:"More of --results, as a shell expands them behind it."`
	Results   []string `help:"OpenElections precinct CSV to replay, plain or gzip: files, globs or https URLs. May be repeated." placeholder:"FILE|GLOB|URL" sep:"none"`
	Generate  string   `help:"Size of the built-in election, where there are no results: county, state or us." enum:"county,state,us" default:"state"`
	Seed      uint64   `help:"Seed of everything that is drawn: election, keys, arrivals, faults." default:"2026"`
	Revisions int      `help:"Submissions of each unit, by count type: 3 are early votes, election day, everything." default:"3"`
	Released  float64  `help:"Share of what is held that two supervisors release, from 0 to 1." default:"0.5"`
}

// driveFlags say how it is played.
type driveFlags struct {
	Speed   string `help:"Pace: a factor (60 plays an hour in a minute), a rate (500/s), max, or auto for a night of about two minutes." default:"auto"`
	Viewers int    `help:"Live viewers that check the hash of every document." default:"50"`
	Clients int    `help:"Connections that submissions come over." default:"256"`
	Report  string `help:"File for the report, as JSON." type:"path" placeholder:"FILE"`
	Profile string `help:"File for a CPU profile of the night, labelled by stage." type:"path" placeholder:"FILE"`
}

// RehearseCommand is `tallystream rehearse`.
type RehearseCommand struct {
	electionFlags `group:"election"`
	driveFlags    `group:"pace"`
	awsFlags      `embed:""`
	Out           string `help:"Directory for what is published; kept. Otherwise a temporary one." type:"path" placeholder:"DIR"`
	Data          string `help:"Directory for stream, ledger and keys; kept. Otherwise a temporary one." type:"path" placeholder:"DIR"`
	Listen        string `help:"Address of the pages; where the default is taken, a free one." default:"127.0.0.1:8080"`
	Exit          bool   `help:"End after the reconciliation instead of serving on."`
	Verbose       bool   `short:"v" help:"Log what the services log, not only warnings."`
}

// Help is the longer text of --help.
func (RehearseCommand) Help() string {
	return `Runs every stage in this process on the embedded engines, durably: signing clients, ingest, stream, aggregation, publication, live viewers. At the
end it reads back what was published, adds it up, and compares every sum with what was sent.

With --stores aws, or --aws-endpoint for an emulator, stream, ledger, bucket and key are Kinesis, DynamoDB, S3 and KMS, made anew for the rehearsal.

Exit status: 0 if everything reconciles, 1 if anything does not, 2 for bad flags or input, 130 after Ctrl-C during the night.

Examples:
  tallystream rehearse
  tallystream rehearse --results 'data/*.csv.gz' --speed max --exit --report report.json
  tallystream rehearse --generate us --revisions 1 --speed max --exit
  tallystream rehearse --aws-endpoint http://127.0.0.1:5000 --generate county --exit`
}

// DefaultListen is where the pages are unless said otherwise.
const DefaultListen = "127.0.0.1:8080"

// ErrNotReconciled ends a rehearsal whose numbers do not agree.
var ErrNotReconciled = errors.New("the night does not reconcile")

// Run rehearses.
func (c *RehearseCommand) Run(ctx context.Context, log *slog.Logger) error {
	drive, err := newDrive(ctx, c.electionFlags, c.driveFlags, os.Stdout)
	if err != nil {
		return usageError{err}
	}
	dirs, err := c.directories()
	if err != nil {
		return err
	}
	defer dirs.remove()
	out := drive.out
	data := service.Data{Dir: dirs.data}
	keys := []string{"ingest", "publish"}
	if c.isAWS() {
		keys = keys[:1] // the publisher's is in KMS
	}
	if err := drive.writeElection(data, keys...); err != nil {
		return err
	}
	where, bucket := service.Options{}, dirs.bucket
	if c.isAWS() {
		if where, err = c.prepare(ctx, drive.truth.Election().Definition.Election, out); err != nil {
			return err
		}
		bucket = "on AWS, as above"
	}
	// Services outlive the signal: what is at hand is finished first.
	night, err := StartNight(context.WithoutCancel(ctx), NightOptions{
		Data: data, Bucket: dirs.bucket, Stores: where, Listen: c.Listen, Logger: c.logger(log),
	})
	if err != nil {
		return err
	}
	defer func() {
		if err := night.Close(); err != nil {
			log.Error("closing the night", "err", err)
		}
	}()
	fmt.Fprintf(out, "Pages    %s\nIngest   %s/v1/submissions\nBucket   %s\n\n", night.PublicURL(), night.IngestURL(), bucket)
	report, err := drive.play(ctx, night)
	if err != nil {
		return interruption(ctx, err)
	}
	if c.Report != "" {
		if err := report.Write(c.Report); err != nil {
			return err
		}
	}
	report.print(out)
	if !c.Exit {
		fmt.Fprintf(out, "\nServing %s until Ctrl-C.\n", night.PublicURL())
		<-ctx.Done()
	}
	if !report.Reconciled {
		return ErrNotReconciled
	}
	return nil
}

// logger keeps the services' everyday lines out of the progress display.
func (c *RehearseCommand) logger(log *slog.Logger) *slog.Logger {
	if c.Verbose {
		return log
	}
	return Quiet(log)
}

// Quiet passes on warnings and errors only.
func Quiet(log *slog.Logger) *slog.Logger { return slog.New(warnings{log.Handler()}) }

type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// usageError is an error in flags or input.
type usageError struct{ error }

func (usageError) ExitCode() int { return 2 }

func (e usageError) Unwrap() error { return e.error }

// interruptedError ends a night that was stopped from outside.
type interruptedError struct{}

func (interruptedError) Error() string {
	return "interrupted: the night was not played to its end, nothing was reconciled"
}

// ExitCode is what shells give for SIGINT.
func (interruptedError) ExitCode() int { return 130 }

// interruption tells an end by signal from an error.
func interruption(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return interruptedError{}
	}
	return err
}

// directories are where a rehearsal writes.
type directories struct {
	data, bucket string
	temporary    []string
}

func (c *RehearseCommand) directories() (*directories, error) {
	d := &directories{data: c.Data, bucket: c.Out}
	for _, dir := range []*string{&d.data, &d.bucket} {
		if *dir != "" {
			if err := mustBeEmpty(*dir); err != nil {
				return nil, usageError{err}
			}
			continue
		}
		t, err := os.MkdirTemp("", "tallystream-rehearsal-")
		if err != nil {
			return nil, fmt.Errorf("making a directory for the rehearsal: %w", err)
		}
		*dir = t
		d.temporary = append(d.temporary, t)
	}
	return d, nil
}

// mustBeEmpty refuses to rehearse over something: a bucket's objects are
// written once, and a ledger belongs to one night.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into %s: %w", dir, err)
	}
	return fmt.Errorf("%s is not empty: a rehearsal needs an empty or a new directory", dir)
}

func (d *directories) remove() {
	for _, dir := range d.temporary {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "removing", dir+":", err)
		}
	}
}

// drive is one night that is ready to be played: its election and truth, its
// keys and its script.
type drive struct {
	flags    driveFlags
	seed     uint64
	truth    elections.Truth
	keys     *elections.Keys
	script   *script.Script
	pace     Pace
	sums     Expected
	contests int // counted in each county
	warnings []Warning
	out      io.Writer
}

// autoNight is how long a night of pace auto takes.
const autoNight = 100 * time.Second

func newDrive(ctx context.Context, e electionFlags, f driveFlags, out io.Writer) (*drive, error) {
	d := &drive{flags: f, seed: e.Seed, out: out}
	if f.Clients < 1 || f.Viewers < 0 {
		return nil, errors.New("want at least one client, and no fewer than 0 viewers")
	}
	if err := d.open(ctx, e); err != nil {
		return nil, err
	}
	var err error
	if d.keys, err = elections.NewKeys(d.truth.Election(), e.Seed); err != nil {
		return nil, err
	}
	rates := script.DefaultRates
	rates.Released = e.Released
	if d.script, err = script.New(script.Config{
		Truth: d.truth, Keys: d.keys, Seed: e.Seed, Revisions: e.Revisions, Rates: rates,
	}); err != nil {
		return nil, err
	}
	if d.pace, err = parsePace(f.Speed, d.script.Span()); err != nil {
		return nil, err
	}
	def := d.truth.Election().Definition
	fmt.Fprintf(out, "%s, %s: %s units in %s counties, %s contests, %s submissions\n", def.Name, def.Date, grouped(len(def.Units)),
		grouped(len(def.Counties)), grouped(d.contests), grouped(d.script.Len()))
	return d, nil
}

// parsePace reads --speed.
func parsePace(s string, span time.Duration) (Pace, error) {
	switch rate, isRate := strings.CutSuffix(s, "/s"); {
	case s == "max":
		return Pace{}, nil
	case s == "auto":
		return Pace{Factor: max(span.Seconds()/autoNight.Seconds(), 1)}, nil
	default:
		n, err := strconv.ParseFloat(rate, 64)
		if err != nil || !(n > 0) {
			return Pace{}, fmt.Errorf("--speed %q: want a factor such as 60, a rate such as 500/s, max or auto", s)
		}
		if isRate {
			return Pace{Rate: n}, nil
		}
		return Pace{Factor: n}, nil
	}
}

// writeElection puts the definition, the roster and the services' keys where
// services look for them.
func (d *drive) writeElection(data service.Data, keys ...string) error {
	if err := data.Create(d.truth.Definition(), d.keys.Roster()); err != nil {
		return err
	}
	for _, s := range keys {
		if _, err := os.Stat(data.KeyPath(s)); err == nil {
			continue
		}
		if err := data.NewKey(s, d.truth.Election().Definition.Origin); err != nil {
			return err
		}
	}
	return nil
}

// heapBytes is what is live after a collection.
func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// expectFromTruth folds the truth itself: what a generated election must add
// up to.
func expectFromTruth(t elections.Truth) Expected {
	e := t.Election()
	return func(c schemas.CountyIndex) map[Cell]int64 {
		county := &e.Counties[c]
		row := make([]int64, county.Cells)
		var cells []schemas.Count
		for _, u := range county.Units {
			cells = t.Cells(u, cells)
			e.Fold(row, u, nil, cells)
		}
		return cellsOf(e, county, row)
	}
}

// cellsOf names the cells of a county's row.
func cellsOf(e *schemas.Election, county *schemas.CountyPlace, row []int64) map[Cell]int64 {
	out := make(map[Cell]int64, len(row))
	for i := range county.Sections {
		s := &county.Sections[i]
		contest := e.ContestID(s.Contest)
		at := int(s.Offset) + 1
		put := func(id schemas.SelectionID) {
			for _, t := range e.Definition.CountTypes {
				out[Cell{contest, id, t}] = row[at]
				at++
			}
		}
		for k := range int(s.Selections) {
			id := schemas.Ballots
			if s.Contest != schemas.BallotsIndex {
				id = e.Definition.Contests[s.Contest].Selections[k].ID
			}
			put(id)
		}
		if s.Residuals {
			put(schemas.Undervotes)
			put(schemas.Overvotes)
		}
	}
	return out
}
