// Package ledger keeps what became of every submission: the entries of each
// partition in order, the county tallies that follow from them, and the head
// that says how far into the stream both reach.
//
// Invariant: a partition's entries, tallies and head change in one
// transaction, and only if the head is still the one that the writer read.
// Whoever reads them in one View sees them at one cut.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tallystream/schemas"
)

// ErrConflict says that a head was not the one read: another process wrote, or
// an earlier commit of our own went through after all. Nothing was written.
// Forget memory, load again, go on.
var ErrConflict = errors.New("the ledger's head is not the one that was read: another process has written since, or a write of ours came through after all")

// ErrElection says that a ledger belongs to another election, or to another
// definition of it.
var ErrElection = errors.New("ledger belongs to another election definition")

// ErrClosed says that the ledger was closed.
var ErrClosed = errors.New("ledger is closed")

// Head is how far a partition has come: everything up to Checkpoint is in its
// Size entries and in the tallies of its counties. Cursor says where in the
// stream the checkpoint is, in the words of the stream's adapter.
type Head struct {
	Partition  schemas.Partition
	Checkpoint schemas.Checkpoint
	Cursor     string
	Size       uint64
	// Epoch counts the owners of the partition. An owner raises it with its
	// first commit, so that no earlier owner can commit again.
	Epoch schemas.Epoch
}

// CountyTally is a county's row as it stands after a batch, in the layout of
// schemas.CountyPlace.
type CountyTally struct {
	County schemas.CountyIndex
	Row    []int64
}

// Batch is one partition's part of a micro-batch. Its entries are numbered
// densely from Before.Size+1 to After.Size; Records are their exact bytes, in
// the same order.
type Batch struct {
	Before, After Head
	Entries       []schemas.Entry
	Records       [][]byte
	Tallies       []CountyTally
}

// Room is how much one partition's part of a micro-batch may hold.
type Room struct {
	Entries int
	Bytes   int // of records
}

// Tally is a county's row as the ledger has it.
type Tally struct {
	Row []int64
	// Size is that of the partition as of which the row stands: no later entry
	// up to the ledger's head changed it.
	Size uint64
}

// View is a cut of the ledger: for each partition a head and everything up to
// it. A View serves one goroutine. Close it soon.
type View interface {
	// Heads returns the head of every partition: Heads()[p] is p's.
	Heads() []Head
	// Entries calls fn with every entry behind after up to the cut, ordered by
	// (partition, seq) and dense in each, with the record's exact bytes, which
	// are valid until fn returns. after holds a size for each partition; nil is
	// all zero. An error of fn ends the reading and is returned.
	Entries(ctx context.Context, after []uint64, fn func(x schemas.Entry, record []byte) error) error
	// Tallies returns the counties' rows. One whose Size is not above that of
	// its partition's head stands so at the cut. If it is, the ledger has moved
	// on: Follow, and read the entries in between.
	Tallies(ctx context.Context, counties []schemas.CountyIndex) ([]Tally, error)
	// Follow moves the cut of these partitions on to what the ledger holds now.
	Follow(ctx context.Context, partitions []schemas.Partition) error
	Close() error
}

// Records finds the exact bytes of a record of the stream.
type Records interface {
	Get(ctx context.Context, at schemas.Checkpoint) ([]byte, error)
}

// Validate returns what of b no fold could have produced. It is a defect of
// the caller; the ledger refuses it before anything is written.
func (b *Batch) Validate(e *schemas.Election) error {
	before, after := &b.Before, &b.After
	switch {
	case before.Partition != after.Partition || int(after.Partition) >= e.Definition.Partitions:
		return fmt.Errorf("batch of partition %d: bad partition", before.Partition)
	case after.Checkpoint < before.Checkpoint || after.Epoch < before.Epoch:
		return fmt.Errorf("batch of partition %d: goes back", before.Partition)
	case len(b.Records) != len(b.Entries):
		return fmt.Errorf("batch of partition %d: %d records for %d entries", before.Partition, len(b.Records), len(b.Entries))
	case after.Size != before.Size+uint64(len(b.Entries)):
		return fmt.Errorf("batch of partition %d: %d entries do not lead from size %d to %d", before.Partition, len(b.Entries), before.Size, after.Size)
	}
	last := before.Checkpoint
	for i := range b.Entries {
		x := &b.Entries[i]
		if x.Partition != before.Partition || x.Seq != before.Size+1+uint64(i) || x.At <= last || x.At > after.Checkpoint {
			return fmt.Errorf("batch of partition %d: entry %d is out of order", before.Partition, x.Seq)
		}
		if err := validate(x); err != nil {
			return fmt.Errorf("batch of partition %d: entry %d %w", before.Partition, x.Seq, err)
		}
		last = x.At
	}
	for i := range b.Tallies {
		t := &b.Tallies[i]
		if int(t.County) < 0 || int(t.County) >= len(e.Counties) || e.Counties[t.County].Partition != before.Partition || len(t.Row) != e.Counties[t.County].Cells {
			return fmt.Errorf("batch of partition %d: bad tally of county %d", before.Partition, t.County)
		}
	}
	return nil
}

// validate returns what an entry of its kind cannot say.
func validate(x *schemas.Entry) error {
	ofRelease := x.Kind == schemas.EntryReleased || x.Kind == schemas.EntryLapsed
	switch {
	case !slices.Contains(schemas.EntryKinds, x.Kind):
		return fmt.Errorf("is of kind %q", x.Kind)
	case (x.Hold != "") != (x.Kind == schemas.EntryHeld):
		return fmt.Errorf("is %s with the hold %q", x.Kind, x.Hold)
	case ofRelease && (x.Held == 0 || x.Held >= x.Seq || x.Unit == ""), !ofRelease && x.Held != 0:
		return fmt.Errorf("is %s, and speaks of entry %d of unit %q", x.Kind, x.Held, x.Unit)
	}
	return nil
}
