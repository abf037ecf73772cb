package timeseries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"tallystream/simulator"
)

// Command is `tallystream replay`.
type Command struct {
	Series string `arg:"" help:"Time series of precinct results: changes.csv, plain or gzip, or its directory." type:"existingpath" placeholder:"FILE|DIR"`
	Twins  int    `help:"Hold a unit that states exactly the numbers of another one of its county, from this many votes on; 0: never." default:"1"`
	Speed  string `help:"Pace: a factor (3600 plays an hour in a second) or max." default:"max"`
	Every  int    `help:"Wait for a snapshot after every so many moments, and after each in which a count fell." default:"1"`
	Copies bool   `help:"At the very end, release what was sent twice, too, to see what a sum says that counts it twice."`
	Seed   uint64 `help:"Seed of the keys." default:"2026"`
	Out    string `help:"Directory for what is published; kept. Otherwise a temporary one." type:"path" placeholder:"DIR"`
	Data   string `help:"Directory for stream, ledger and keys; kept. Otherwise a temporary one." type:"path" placeholder:"DIR"`
	Listen string `help:"Address of the pages while it is replayed; where the default is taken, a free one." default:"127.0.0.1:8080"`
	Report string `help:"File for the report, as JSON." type:"path" placeholder:"FILE"`
}

// Help is the longer text of --help.
func (Command) Help() string {
	return `Replays a real night as it was reported, change by change in the order of time, through every stage in this process: each change is a revision of its
unit, signed and sent over HTTP. After each moment it waits for a snapshot, and compares every published number with the one before: none may fall but by a
correction, which corrections.ndjson must list. When the series ends, supervisors release what is held or correct it, by a script that reads what is
published. At the end it prints what was held and why, compares every sum with the series, and verifies everything that is published.

The series is a CSV with the columns timestamp, county, precinct, fips, vote_type (total, absentee, electionday), votes, and votes_ with each candidate,
sorted by time. Results of this kind are somebody's: do not publish them.

Exit status: 0 if everything agrees, 1 if anything does not, 2 for bad flags or input, 130 after Ctrl-C.

Examples:
  tallystream replay ../shared/data/mi-2020-timeseries
  tallystream replay ../shared/data/mi-2020-timeseries --speed 3600 --out public --report report.json`
}

// ErrNotAgreed ends a replay whose numbers do not agree.
var ErrNotAgreed = errors.New("the replay does not agree with its series")

// interruptedError ends a replay that was stopped from outside.
type interruptedError struct{ error }

// ExitCode is what shells give for SIGINT.
func (interruptedError) ExitCode() int { return 130 }

func (e interruptedError) Unwrap() error { return e.error }

// usageError is an error in flags or input.
type usageError struct{ error }

func (usageError) ExitCode() int { return 2 }

func (e usageError) Unwrap() error { return e.error }

// Run replays.
func (c *Command) Run(ctx context.Context, log *slog.Logger) error { return c.run(ctx, os.Stdout, log) }

func (c *Command) run(ctx context.Context, out io.Writer, log *slog.Logger) (err error) {
	factor, err := c.pace()
	if err != nil {
		return usageError{err}
	}
	if c.Twins < 0 || c.Every < 1 {
		return usageError{errors.New("want --twins of 0 or more, and --every of 1 or more")}
	}
	series, err := Import(c.Series, Options{Twins: c.Twins})
	if err != nil {
		return usageError{err}
	}
	config := ReplayConfig{
		Series: series, Seed: c.Seed, Data: c.Data, Bucket: c.Out, Listen: c.Listen, Factor: factor, Every: c.Every, Copies: c.Copies, Out: out, Logger: simulator.Quiet(log),
	}
	for _, dir := range []*string{&config.Data, &config.Bucket} {
		remove, err := directory(dir)
		if err != nil {
			return err
		}
		defer remove()
	}
	report, err := Replay(ctx, config)
	switch {
	case err != nil && ctx.Err() != nil:
		return interruptedError{fmt.Errorf("interrupted: %w", err)}
	case err != nil:
		return err
	}
	if err := report.Print(out); err != nil {
		return err
	}
	if c.Report != "" {
		if err := report.write(c.Report); err != nil {
			return err
		}
	}
	if !report.Good() {
		return ErrNotAgreed
	}
	return nil
}

// pace reads --speed; 0: as fast as answers come.
func (c *Command) pace() (float64, error) {
	if c.Speed == "max" {
		return 0, nil
	}
	factor, err := strconv.ParseFloat(c.Speed, 64)
	if err != nil || !(factor > 0) {
		return 0, fmt.Errorf("--speed %q: want a factor such as 3600, or max", c.Speed)
	}
	return factor, nil
}

// directory makes a temporary directory where none is named, and refuses one
// with something in it: a bucket's objects are written once.
func directory(dir *string) (remove func(), err error) {
	if *dir == "" {
		if *dir, err = os.MkdirTemp("", "tallystream-replay-"); err != nil {
			return nil, fmt.Errorf("making a directory for the replay: %w", err)
		}
		temporary := *dir
		return func() {
			if err := os.RemoveAll(temporary); err != nil {
				fmt.Fprintln(os.Stderr, "removing", temporary+":", err)
			}
		}, nil
	}
	entries, err := os.ReadDir(*dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, usageError{fmt.Errorf("looking into %s: %w", *dir, err)}
	}
	if len(entries) > 0 {
		return nil, usageError{fmt.Errorf("%s is not empty: a replay needs an empty or a new directory", *dir)}
	}
	return func() {}, nil
}

func (r *Report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
