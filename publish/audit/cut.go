package audit

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/aggregate/ledger"
	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// cut is a view of the ledger, and the newest snapshot with how many entries of
// each partition it shows; the snapshot is nil where nothing published is
// compared, and then it shows what the view does.
type cut struct {
	view     ledger.View
	snapshot *schemas.Snapshot
	shows    []uint64 // by partition
}

// findCut reads the newest snapshot, then the ledger, which holds at least what
// is published.
func (a *auditor) findCut(ctx context.Context) (_ *cut, err error) {
	c := new(cut)
	if c.snapshot, err = a.newest(ctx); err != nil {
		return nil, err
	}
	if c.view, err = a.cfg.Ledger.View(ctx); err != nil {
		return nil, fmt.Errorf("opening a ledger view: %w", err)
	}
	if err := a.place(ctx, c); err != nil {
		return nil, errors.Join(err, c.view.Close())
	}
	return c, nil
}

func (a *auditor) newest(ctx context.Context) (*schemas.Snapshot, error) {
	if a.cfg.Bucket == nil {
		return nil, nil
	}
	b, err := a.cfg.Bucket.Get(ctx, schemas.LatestKey)
	if err != nil {
		return nil, fmt.Errorf("reading the newest snapshot: %w", err)
	}
	s, err := schemas.OpenSnapshot(b, a.cfg.Verifier)
	if err == nil && s.Origin != a.forms.Origin {
		err = fmt.Errorf("the newest snapshot is of %q, not of %q", s.Origin, a.forms.Origin)
	}
	return s, err
}

// place finds what the snapshot shows of each partition. A snapshot that shows
// as many entries as there are shows all of them; of an older one the leaves
// of its log say so.
func (a *auditor) place(ctx context.Context, c *cut) error {
	heads := c.view.Heads()
	if len(heads) != a.forms.Partitions {
		return fmt.Errorf("the ledger has %d heads, the election %d partitions", len(heads), a.forms.Partitions)
	}
	a.report.heads(heads)
	for i := range heads {
		c.shows = append(c.shows, heads[i].Size)
	}
	size := sizeOf(heads)
	a.total = size
	if c.snapshot == nil || c.snapshot.Entries() == size {
		return nil
	}
	shown, err := a.readLog(ctx, c.snapshot)
	switch {
	case errors.Is(err, log.ErrTampered) || errors.Is(err, errLeaf):
		a.report.add(Difference{Kind: KindObject, Where: "the log of " + where(c.snapshot), What: err.Error() + "; nothing published was compared"})
		c.snapshot = nil
		return nil
	case err != nil:
		return fmt.Errorf("reading the log of snapshot %d: %w", c.snapshot.Number, err)
	}
	for p := range shown {
		if shown[p] > heads[p].Size {
			a.report.add(Difference{Kind: KindSnapshot, Where: where(c.snapshot), What: fmt.Sprintf(
				"it shows %d entries of partition %d, the ledger has only %d; nothing published was compared", shown[p], p, heads[p].Size)})
			c.snapshot = nil
			return nil
		}
	}
	c.shows = shown
	return nil
}

// errLeaf: a leaf is not what the log of a ledger has there.
var errLeaf = errors.New("the log is not that of a ledger")

// readLog counts the entries of each partition in a snapshot's log, which must
// be dense. Every leaf is held against the snapshot's root.
func (a *auditor) readLog(ctx context.Context, s *schemas.Snapshot) ([]uint64, error) {
	shown := make([]uint64, a.forms.Partitions)
	r := log.NewReader(a.cfg.Bucket, tlog.Tree{N: int64(s.Log), Hash: tlog.Hash(s.Root)})
	for e, err := range r.Entries(ctx, 0) {
		if err != nil {
			return nil, err
		}
		l, err := leaf.Decode(e.Leaf)
		if err != nil {
			return nil, fmt.Errorf("%w: leaf %d: %w", errLeaf, e.Index, err)
		}
		p, seq := schemas.Partition(0), uint64(0)
		switch l := l.(type) {
		case *leaf.Submission:
			p, seq = l.Partition, l.Seq
		case *leaf.Hold:
			p, seq = l.Partition, l.Seq
		case *leaf.Release:
			p, seq = l.Partition, l.Seq
		default:
			continue // of the election, not of an entry
		}
		if int(p) >= len(shown) || seq != shown[p]+1 {
			return nil, fmt.Errorf("%w: leaf %d is entry %d of partition %d, which does not come next", errLeaf, e.Index, seq, p)
		}
		shown[p] = seq
	}
	return shown, nil
}

func where(s *schemas.Snapshot) string { return "snapshot " + s.Number.String() }
