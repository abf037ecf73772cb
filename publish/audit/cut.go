package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// cutEvery is how often the newest snapshot and the ledger are looked at until
// they speak of the same entries.
const cutEvery = time.Second

// NotQuietError says that the newest snapshot does not show all entries of the
// ledger, so that there is no cut at which both can be compared.
type NotQuietError struct {
	Snapshot schemas.SnapshotNumber
	Log      schemas.LogSize
	Ledger   uint64
	Waited   time.Duration
}

func (e *NotQuietError) Error() string {
	return fmt.Sprintf("after %s snapshot %d is the newest and shows %d entries, the ledger has %d: submissions still arrive, or the publisher is behind; "+
		"audit at a quiet moment, wait longer with --wait, or audit the ledger alone with --ledger-only", e.Waited, e.Snapshot, e.Log, e.Ledger)
}

// atCut is a view of the ledger and the snapshot of the same entries; the
// snapshot is nil where nothing published is compared.
type atCut struct {
	view     ledger.View
	snapshot *schemas.Snapshot
}

// findCut waits until the newest snapshot was made of exactly what the ledger
// holds. A snapshot says how many entries it was made of, not how many of each
// partition, so no earlier cut can be told.
func (a *auditor) findCut(ctx context.Context) (*atCut, error) {
	for begun := a.cfg.Now(); ; {
		c, size, err := a.look(ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case c.snapshot == nil || uint64(c.snapshot.Log) == size:
			return c, nil
		case uint64(c.snapshot.Log) > size: // the snapshot was read first
			a.report.add(Difference{Kind: KindSnapshot, Where: where(c.snapshot),
				What: fmt.Sprintf("it shows %d entries, the ledger has only %d; nothing published was compared", c.snapshot.Log, size)})
			c.snapshot = nil
			return c, nil
		}
		waited := a.cfg.Now().Sub(begun)
		if err := c.view.Close(); err != nil {
			return nil, err
		}
		if waited >= a.cfg.Wait {
			return nil, &NotQuietError{c.snapshot.Number, c.snapshot.Log, size, waited.Round(time.Second)}
		}
		if err := a.cfg.Sleep(ctx, cutEvery); err != nil {
			return nil, err
		}
	}
}

// look reads the newest snapshot, then the ledger's heads.
func (a *auditor) look(ctx context.Context) (*atCut, uint64, error) {
	c := new(atCut)
	if a.cfg.Bucket != nil {
		b, err := a.cfg.Bucket.Get(ctx, schemas.LatestKey)
		if err != nil {
			return nil, 0, fmt.Errorf("reading the newest snapshot: %w", err)
		}
		if c.snapshot, err = schemas.OpenSnapshot(b, a.cfg.Verifier); err != nil {
			return nil, 0, err
		}
		if c.snapshot.Origin != a.forms.Origin {
			return nil, 0, fmt.Errorf("the newest snapshot is of %q, not of %q", c.snapshot.Origin, a.forms.Origin)
		}
	}
	var err error
	if c.view, err = a.cfg.Ledger.View(ctx); err != nil {
		return nil, 0, fmt.Errorf("opening a ledger view: %w", err)
	}
	heads := c.view.Heads()
	if len(heads) != a.forms.Partitions {
		return nil, 0, errors.Join(fmt.Errorf("the ledger has %d heads, the election %d partitions", len(heads), a.forms.Partitions), c.view.Close())
	}
	a.report.heads(heads)
	return c, sizeOf(heads), nil
}

func where(s *schemas.Snapshot) string { return "snapshot " + s.Number.String() }
