package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/stores"
	"tallystream/service"
)

// Command is `tallystream audit`.
type Command struct {
	service.Options
	Bucket     string `help:"Directory that is published; with --stores aws it is in S3." type:"path" default:"public" env:"TALLYSTREAM_BUCKET"`
	Key        string `help:"Verifier key of snapshots, as config.json of the pages names it. Empty: that of the publisher's key, in KMS or in the data directory." placeholder:"VKEY"`
	LedgerOnly bool   `help:"Audit the ledger alone, without what is published."`
	Final      bool   `help:"The night is closed: every published table by unit must be as new as the newest snapshot."`
	JSON       bool   `name:"json" help:"Print the report as JSON."`
}

// Help is the longer text of --help.
func (Command) Help() string {
	return `Counts every submission of the ledger again from its exact bytes, by a count of its own: signatures against the roster, the decision on each
submission, and every sum. Then compares with the ledger's tallies, and with all documents and tables by unit of the newest snapshot, at that snapshot's cut.
It writes nothing and may run while the services do.

Exit status: 0 if nothing differs, 1 if anything does, 2 for bad flags, or if something cannot be read.

Examples:
  tallystream audit --data data --bucket public
  tallystream audit --stores aws --json > audit.json
  tallystream audit --data data --ledger-only`
}

// ErrDiffers ends an audit that found differences.
var ErrDiffers = errors.New("the audit found differences")

// unreadable is an audit that could not be made.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// ExitCode is that of the command.
func (unreadable) ExitCode() int { return 2 }

// Run audits, and prints what it finds.
func (c *Command) Run(ctx context.Context, log *slog.Logger) error {
	r, err := c.audit(ctx, log, os.Stderr)
	if err != nil {
		return unreadable{err}
	}
	if c.JSON {
		if err := r.JSON(os.Stdout); err != nil {
			return unreadable{err}
		}
	} else {
		r.Print(os.Stdout)
	}
	if r.Found > 0 {
		return ErrDiffers
	}
	return nil
}

// audit opens the stores and audits them.
func (c *Command) audit(ctx context.Context, log *slog.Logger, progress io.Writer) (_ *Report, err error) {
	opened, err := service.Data{Dir: c.Data}.Open()
	if err != nil {
		return nil, err
	}
	if err := c.exist(); err != nil {
		return nil, err
	}
	s, err := stores.Open(ctx, stores.Config{Options: c.Options, Bucket: c.Bucket, Opened: opened, Registry: prometheus.NewRegistry(), Logger: log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	cfg := Config{
		Election: opened.Election, Keyring: opened.Keyring, Final: c.Final,
		Progress: (&meter{out: progress}).show,
	}
	if cfg.Ledger, err = s.Ledger(ctx); err != nil {
		return nil, err
	}
	if !c.LedgerOnly {
		if cfg.Bucket, err = s.Bucket(ctx); err != nil {
			return nil, err
		}
		if cfg.Verifier, err = c.verifier(ctx, s); err != nil {
			return nil, err
		}
	}
	return Run(ctx, cfg)
}

// exist refuses a directory without a night: opening embedded stores would make
// one, and an empty election has no differences.
func (c *Command) exist() error {
	if c.Stores == service.AWS {
		return nil
	}
	data := service.Data{Dir: c.Data}
	paths := []string{data.StreamPath(), data.LedgerPath()}
	if !c.LedgerOnly {
		paths = append(paths, c.Bucket)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("finding the night to audit: %w", err)
		}
	}
	return nil
}

// verifier is that of snapshots. An auditor needs no private key: on AWS the
// publisher's is asked for its public half, and a directory without keys wants --key.
func (c *Command) verifier(ctx context.Context, s *stores.Stores) (note.Verifier, error) {
	key := c.Key
	if key == "" {
		var err error
		if key, err = s.Verifier(ctx); err != nil {
			return nil, fmt.Errorf("%w (or give --key, as config.json of the pages has it: it is all that an audit needs)", err)
		}
	}
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("verifier key of snapshots: %w", err)
	}
	return v, nil
}

// meterEvery is how often progress is printed.
const meterEvery = 2 * time.Second

// meter prints progress a line now and then.
type meter struct {
	out io.Writer

	mu   sync.Mutex
	last time.Duration
}

func (m *meter) show(p Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.Elapsed-m.last < meterEvery {
		return
	}
	m.last = p.Elapsed
	left, _ := p.Left()
	fmt.Fprintf(m.out, "audit: %d of %d submissions, %.0f a second, %s left\n", p.Done, p.Total, float64(p.Done)/p.Elapsed.Seconds(), left.Round(time.Second))
}
