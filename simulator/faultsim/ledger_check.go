package faultsim

import (
	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// checkMove holds that heads only go forward.
func (l *simLedger) checkMove(from, to ledger.Head) {
	switch {
	case to.Checkpoint < from.Checkpoint:
		l.world.violate("partition %d: its checkpoint goes back from %d to %d", from.Partition, from.Checkpoint, to.Checkpoint)
	case to.Size < from.Size:
		l.world.violate("partition %d: its size goes back from %d to %d", from.Partition, from.Size, to.Size)
	case to.Epoch < from.Epoch:
		l.world.violate("partition %d: its epoch goes back from %d to %d", from.Partition, from.Epoch, to.Epoch)
	}
}

// check holds a partition against the oracle at the partition's checkpoint:
// all entries from the first new one on, every row, and what it says of its
// size.
func (l *simLedger) check(p *ledgerPart, first int) {
	number := p.head.Partition
	if end := l.end(number); p.head.Checkpoint > end {
		l.world.violate("partition %d: checkpoint %d is beyond the stream's end, %d", number, p.head.Checkpoint, end)
		return
	}
	size := l.oracle.size(number, p.head.Checkpoint)
	book := l.oracle.books[number]
	want := book.facts[:size]
	if len(p.entries) != len(want) || p.head.Size != uint64(len(want)) {
		l.world.violate("partition %d at checkpoint %d: %d entries, head says %d, want %d", number, p.head.Checkpoint, len(p.entries), p.head.Size, len(want))
		return
	}
	for i := first; i < len(want); i++ {
		l.checkEntry(p, &p.entries[i], &want[i], i)
	}
	for c := range l.town.election.Counties {
		if l.town.election.Counties[c].Partition == number {
			l.checkRow(schemas.CountyIndex(c), book.totals[len(want)], p.head)
		}
	}
}

func (l *simLedger) checkEntry(p *ledgerPart, x *schemas.Entry, want *fact, i int) {
	same := x.Kind == want.kind && x.Hold == want.hold && x.Held == want.held && x.Unit == want.says.unit && x.Revision == want.says.revision &&
		x.Digest == want.says.digest && x.At == want.at && x.Seq == uint64(i+1) && string(p.records[i]) == want.record
	if !same {
		l.world.violate("partition %d: entry %d is %+v, want %s %s of %s revision %d at %d", p.head.Partition, i+1, *x, want.kind, want.hold, want.says.unit, want.says.revision, want.at)
	}
	counts := x.Kind == schemas.EntryCounted || x.Kind == schemas.EntryReleased
	if counts {
		// A release may let another body of the revision count.
		if x.Revision < p.counted[x.Unit] || x.Revision == p.counted[x.Unit] && x.Kind == schemas.EntryCounted {
			l.world.violate("unit %s: its row goes back from revision %d to %d", x.Unit, p.counted[x.Unit], x.Revision)
		}
		p.counted[x.Unit] = x.Revision
	}
}

// checkRow holds a county's row against the oracle's sums.
func (l *simLedger) checkRow(c schemas.CountyIndex, totals map[schemas.CountyID]map[place]int64, head ledger.Head) {
	county := &l.town.election.Counties[c]
	want := totals[county.ID]
	for i := range county.Sections {
		s := &county.Sections[i]
		for at, p := range l.town.places(s) {
			if got := l.rows[c].Row[int(s.Offset)+at]; got != want[p] {
				l.world.violate("county %s at checkpoint %d of partition %d: %d in %v, want %d", county.ID, head.Checkpoint, head.Partition, got, p, want[p])
				return
			}
		}
	}
}
