package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/suppress"
)

// Command is `tallystream verify`.
type Command struct {
	Location string `arg:"" name:"url|dir" help:"What is published: its URL, or the directory of the bucket."`
	Key      string `help:"Verifier key that the log's checkpoint must be signed by. Empty: that of the state, else the one in config.json, with a warning." placeholder:"NAME+HASH+KEY"`
	Policy   string `help:"Policy file (C2SP tlog-policy): which witnesses must have cosigned the checkpoint." type:"existingfile" placeholder:"FILE"`
	State    string `help:"File that remembers what was verified, so that the next run reads only what is new, and sees a log that was rolled back or forked." type:"path" placeholder:"FILE"`
	Unseal   string `help:"File of openings, for auditors: sealed leaves of hidden units are opened and counted again. \"tallystream openings\" makes one of the ledger and the secret." type:"existingfile" placeholder:"FILE"`
	All      bool   `help:"Compare the documents and files of every snapshot, not of the newest only."`
	JSON     bool   `name:"json" help:"Print the report as JSON."`
	Quiet    bool   `short:"q" help:"Show no progress."`
	Profile  string `help:"File for a CPU profile." type:"path" placeholder:"FILE"`
}

// Help is the longer text of --help.
func (Command) Help() string {
	return `Checks an election's results from public files alone: that every leaf of the log leads to the signed checkpoint; who signed every submission, and in
which role; that what counts is what the rules say; the chain of snapshots; and every line of every document, table and report, byte for byte, against
the count of the logged submissions. Nothing but the key, the policy and the state file is trusted.

Exit status: 0 if everything is verified, 1 if a check failed, 2 for bad flags or a state of another election, 3 if something could not be read or
not everything could be checked, 130 after Ctrl-C.

Examples:
  tallystream verify https://results.example.org/
  tallystream verify public --key 'results.example.org/2026+c0ffee00+AZ...' --state 2026.state
  tallystream verify public --unseal openings.ndjson
  tallystream verify https://results.example.org/ --policy witnesses.txt --json > verified.json`
}

// exit is an error with an exit status of its own.
type exit struct {
	error
	code int
}

func (e exit) Unwrap() error { return e.error }

// ExitCode is that of the command.
func (e exit) ExitCode() int { return e.code }

// Exit statuses beside 0.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitIncomplete = 3
)

// What a command ends with that found no error of its own.
var (
	ErrFailed     = errors.New("not verified")
	ErrIncomplete = errors.New("not everything could be checked")
)

// Run verifies, and prints what it finds.
func (c *Command) Run(ctx context.Context, _ *slog.Logger) (err error) {
	if c.Profile != "" {
		f, err := os.Create(c.Profile)
		if err != nil {
			return exit{err, exitUsage}
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return exit{err, exitUsage}
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	return c.run(ctx, os.Stdout, os.Stderr)
}

func (c *Command) run(ctx context.Context, out, progress io.Writer) error {
	o, err := c.options()
	if err != nil {
		return exit{err, exitUsage}
	}
	d := newDisplay(progress)
	if !c.Quiet {
		o.Progress = d.show
	}
	r, state, err := Run(ctx, o)
	d.clear()
	if err != nil {
		if errors.Is(err, ErrState) {
			return exit{err, exitUsage}
		}
		if ctx.Err() != nil {
			return err
		}
		return exit{err, exitIncomplete}
	}
	if c.State != "" && state != nil {
		if err := WriteState(c.State, state); err != nil {
			return exit{err, exitIncomplete}
		}
	}
	if c.JSON {
		err = r.JSON(out)
	} else {
		err = r.Print(out)
	}
	switch {
	case err != nil:
		return exit{err, exitIncomplete}
	case r.Verdict == Failed:
		return exit{ErrFailed, exitFailed}
	case r.Verdict == Incomplete:
		return exit{ErrIncomplete, exitIncomplete}
	}
	return nil
}

// options reads what the flags name.
func (c *Command) options() (o Options, err error) {
	if c.Key != "" {
		if _, err := note.NewVerifier(c.Key); err != nil {
			return o, fmt.Errorf("--key: %w", err)
		}
	}
	o = Options{Key: c.Key, All: c.All}
	if o.Unseal, err = c.openings(); err != nil {
		return o, err
	}
	if c.Policy != "" {
		b, err := os.ReadFile(c.Policy)
		if err != nil {
			return o, fmt.Errorf("--policy: %w", err)
		}
		if o.Policy, err = log.ParsePolicy(b); err != nil {
			return o, fmt.Errorf("--policy: %w", err)
		}
	}
	if c.State != "" {
		if o.State, err = ReadState(c.State); err != nil {
			return o, err
		}
		if o.State != nil && c.Key != "" && o.State.Key != c.Key {
			return o, fmt.Errorf("--state: %w: it was made with the key %s", ErrState, o.State.Key)
		}
	}
	o.Source, err = Open(c.Location)
	return o, err
}

// openings reads the flag --unseal.
func (c *Command) openings() (*suppress.Openings, error) {
	if c.Unseal == "" {
		return nil, nil
	}
	if c.State != "" {
		return nil, errors.New("--unseal: every leaf is read again, leave --state out")
	}
	f, err := os.Open(c.Unseal)
	if err != nil {
		return nil, fmt.Errorf("--unseal: %w", err)
	}
	o, err := suppress.ReadOpenings(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("--unseal: %w", err)
	}
	return o, nil
}
