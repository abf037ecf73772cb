// Package ledger keeps what became of every submission: the entries of each
// partition in order, the county tallies that follow from them, and the head
// that says how far into the stream both reach.
//
// Invariant: a partition's entries, tallies and head change in one
// transaction, and only if the head is still the one that the writer read.
// Whoever reads them in one View sees them at one cut.
package ledger

import (
	"errors"
	"fmt"

	"tallystream/schemas"
)

// ErrConflict says that a head was not the one read: another process wrote, or
// an earlier commit of our own went through after all. Nothing was written.
// Forget memory, load again, go on.
var ErrConflict = errors.New("ledger head is not the one that was read")

// ErrElection says that a ledger belongs to another election, or to another
// definition of it.
var ErrElection = errors.New("ledger belongs to another election definition")

// ErrClosed says that the ledger was closed.
var ErrClosed = errors.New("ledger is closed")

// Head is how far a partition has come: everything up to Checkpoint is in its
// Size entries and in the tallies of its counties.
type Head struct {
	Partition  schemas.Partition
	Checkpoint schemas.Checkpoint
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
// densely from Before.Size+1 to After.Size.
type Batch struct {
	Before, After Head
	Entries       []schemas.Entry
	Tallies       []CountyTally
}

// validate returns what of b no fold could have produced. It is a defect of
// the caller; the ledger refuses it before anything is written.
func (b *Batch) validate(e *schemas.Election) error {
	before, after := &b.Before, &b.After
	switch {
	case before.Partition != after.Partition || int(after.Partition) >= e.Definition.Partitions:
		return fmt.Errorf("batch of partition %d: bad partition", before.Partition)
	case after.Checkpoint < before.Checkpoint || after.Epoch < before.Epoch:
		return fmt.Errorf("batch of partition %d: goes back", before.Partition)
	case after.Size != before.Size+uint64(len(b.Entries)):
		return fmt.Errorf("batch of partition %d: %d entries do not lead from size %d to %d", before.Partition, len(b.Entries), before.Size, after.Size)
	}
	last := before.Checkpoint
	for i := range b.Entries {
		x := &b.Entries[i]
		if x.Partition != before.Partition || x.Seq != before.Size+1+uint64(i) || x.At <= last || x.At > after.Checkpoint {
			return fmt.Errorf("batch of partition %d: entry %d is out of order", before.Partition, x.Seq)
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
