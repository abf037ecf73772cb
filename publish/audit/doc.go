// Package audit counts an election once more, by itself, and says where the
// ledger or what is published differs from that.
//
// Invariant: no number that is compared was made by the code under audit. The
// count reads the definition and the exact bytes of submissions; it knows the
// ledger's rows and the published lines and tables only as documents to be read.
// It writes nothing.
package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// Ledger is what is audited of a ledger.
type Ledger interface {
	View(ctx context.Context) (ledger.View, error)
	// EntriesOf returns a unit's entries in the order of its partition.
	EntriesOf(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error)
	// Units calls fn with every entry of the partitions that names a unit.
	Units(ctx context.Context, partitions []schemas.Partition, fn func(schemas.Entry) error) error
}

// Bucket is where it is published. ErrNotFound of publish/bucket says that an
// object is not there.
type Bucket interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// Config of an audit. Election, Keyring and Ledger must be set; so must
// Verifier where Bucket is.
type Config struct {
	Election *schemas.Election
	Keyring  *schemas.Keyring
	Ledger   Ledger
	Bucket   Bucket // nil: the ledger alone
	Verifier note.Verifier
	// Final says that the night is closed: every exported file must be as new
	// as the newest snapshot.
	Final bool
	// Progress is told how far the count is, from one goroutine; nil: nobody.
	Progress func(Progress)
	Now      func() time.Time // nil: time.Now
}

// Progress is how far the count of entries is.
type Progress struct {
	Done, Total uint64
	Elapsed     time.Duration
}

// Left estimates the time to the end; false before there is anything to go by.
func (p Progress) Left() (time.Duration, bool) {
	if p.Done == 0 {
		return 0, false
	}
	return time.Duration(float64(p.Elapsed) / float64(p.Done) * float64(p.Total-min(p.Done, p.Total))), true
}

func (c *Config) setDefaults() error {
	if c.Election == nil || c.Keyring == nil || c.Ledger == nil || (c.Bucket != nil && c.Verifier == nil) {
		return errors.New("audit: election, keyring, ledger and, with a bucket, its verifier must be set")
	}
	if c.Bucket != nil && len(c.Election.Remainders) > 0 {
		return fmt.Errorf("audit: %w", errHidden)
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// auditor is one audit. One goroutine drives it.
type auditor struct {
	cfg    Config
	forms  *forms
	count  *count
	report *Report
	begun  time.Time
	total  uint64 // entries to count
}

// Run audits. Its error says that something could not be read; what differs is
// in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	f := newForms(cfg.Election.Definition)
	a := &auditor{cfg: cfg, forms: f, report: &Report{Election: cfg.Election.Definition.Election}, begun: cfg.Now()}
	a.count = newCount(f, cfg.Ledger, a.report)
	a.count.hidden = newHidden(cfg.Election)
	if err := a.run(ctx); err != nil {
		return nil, fmt.Errorf("auditing: %w", err)
	}
	a.report.finish(cfg.Now().Sub(a.begun))
	return a.report, nil
}

func (a *auditor) run(ctx context.Context) error {
	c, err := a.findCut(ctx)
	if err != nil {
		return err
	}
	defer c.view.Close() // it only reads
	if err := a.countTo(ctx, c.view, c.shows); err != nil {
		return err
	}
	published, err := a.published(ctx, c.snapshot)
	if err != nil {
		return err
	}
	a.publishedBefore(c.view.Heads(), published)
	if err := a.countTo(ctx, c.view, nil); err != nil {
		return err
	}
	if err := a.tallies(ctx, c.view, published); err != nil {
		return err
	}
	if err := a.unitRows(ctx); err != nil {
		return err
	}
	return a.headsLater(ctx)
}
