package faultsim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// simLedger is the ledger as DynamoDB gives it: a batch is one transaction,
// conditioned on its head; the batches of one Commit are several of them. Reads
// are of single items, at different times: a view's heads need not be of one
// moment, and tallies and units are those of now, not of the cut.
//
// Or as SQLite does: then all batches of a Commit are one transaction, and a
// view's heads and tallies are of one moment.
type simLedger struct {
	whole    bool                                       // as SQLite
	end      func(schemas.Partition) schemas.Checkpoint // of the stream
	world    *world
	town     *town
	oracle   *oracle
	parts    []*ledgerPart // by partition
	rows     []ledger.Tally
	room     ledger.Room
	unfenced bool // planted: the condition on the head is left out
}

type ledgerPart struct {
	head    ledger.Head
	entries []schemas.Entry
	records [][]byte
	counted map[schemas.UnitID]schemas.Revision
}

func newLedger(w *world, t *town, o *oracle) *simLedger {
	l := &simLedger{world: w, town: t, oracle: o, room: ledger.Room{Entries: 3 + w.random.IntN(20), Bytes: 4 << 20}}
	for p := range t.election.Definition.Partitions {
		l.parts = append(l.parts, &ledgerPart{head: ledger.Head{Partition: schemas.Partition(p)}, counted: map[schemas.UnitID]schemas.Revision{}})
	}
	for c := range t.election.Counties {
		l.rows = append(l.rows, ledger.Tally{Row: make([]int64, t.election.Counties[c].Cells)})
	}
	return l
}

func (l *simLedger) Room() ledger.Room { return l.room }

func (l *simLedger) Heads(context.Context) ([]ledger.Head, error) {
	heads := make([]ledger.Head, len(l.parts))
	return heads, l.world.current.read("heads", func() error { l.headsInto(heads); return nil })
}

// headsInto reads the heads, in pieces.
func (l *simLedger) headsInto(heads []ledger.Head) {
	for p := range l.parts {
		if !l.whole && l.world.chance(8) {
			l.world.current.travel()
		}
		heads[p] = l.parts[p].head
	}
}

// Commit tries each batch by itself, in any order.
func (l *simLedger) Commit(_ context.Context, batches []ledger.Batch) error {
	if l.whole {
		return l.commitWhole(batches)
	}
	var failed []error
	for _, i := range l.world.random.Perm(len(batches)) {
		if err := batches[i].Validate(l.town.election); err != nil {
			l.world.violate("a worker commits what no fold could have made: %v", err)
			return err
		}
		failed = append(failed, l.commit(&batches[i]))
	}
	return errors.Join(failed...)
}

func (l *simLedger) commit(b *ledger.Batch) error {
	mine := clone(b) // the worker's memory changes, the request does not
	what := fmt.Sprintf("partition %d: %d+%d entries, %d to %d, epoch %d, %s",
		mine.After.Partition, mine.Before.Size, len(mine.Entries), mine.Before.Checkpoint, mine.After.Checkpoint, mine.After.Epoch, mine.After.Cursor)
	return l.world.current.write(writeLedger, what, func() error { return l.apply(mine) })
}

func clone(b *ledger.Batch) *ledger.Batch {
	c := ledger.Batch{Before: b.Before, After: b.After, Entries: slices.Clone(b.Entries)}
	for _, r := range b.Records {
		c.Records = append(c.Records, slices.Clone(r))
	}
	for _, t := range b.Tallies {
		c.Tallies = append(c.Tallies, ledger.CountyTally{County: t.County, Row: slices.Clone(t.Row)})
	}
	return &c
}

// commitWhole tries all batches at once.
func (l *simLedger) commitWhole(batches []ledger.Batch) error {
	mine := make([]*ledger.Batch, len(batches))
	for i := range batches {
		mine[i] = clone(&batches[i])
	}
	return l.world.current.write(writeLedger, fmt.Sprintf("%d partitions", len(mine)), func() error {
		for _, b := range mine {
			if l.conflicts(b) {
				return ledger.ErrConflict
			}
		}
		for _, b := range mine {
			if err := l.apply(b); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *simLedger) conflicts(b *ledger.Batch) bool {
	return l.parts[b.Before.Partition].head != b.Before && !l.unfenced
}

// apply is the transaction.
func (l *simLedger) apply(b *ledger.Batch) error {
	p := l.parts[b.Before.Partition]
	if l.conflicts(b) {
		return ledger.ErrConflict
	}
	l.checkMove(p.head, b.After)
	p.head = b.After
	p.entries = append(p.entries, b.Entries...)
	p.records = append(p.records, b.Records...)
	for _, t := range b.Tallies {
		l.rows[t.County] = ledger.Tally{Row: t.Row, Size: b.After.Size}
	}
	l.check(p, len(p.entries)-len(b.Entries))
	return nil
}

// View begins with heads; everything else is read when it is asked for.
func (l *simLedger) View(context.Context) (ledger.View, error) {
	v := &simView{ledger: l, heads: make([]ledger.Head, len(l.parts))}
	return v, l.world.current.read("view", func() error {
		l.headsInto(v.heads)
		v.keep()
		return nil
	})
}

// keep fixes the tallies of a view that is of one moment.
func (v *simView) keep() {
	if v.ledger.whole {
		v.rows = slices.Clone(v.ledger.rows)
	}
}

// Units gives what there is now, which may be more than a view's heads say.
func (l *simLedger) Units(_ context.Context, partitions []schemas.Partition, fn func(schemas.Entry) error) error {
	return l.world.current.read("units", func() error {
		for _, p := range partitions {
			for i := 0; i < len(l.parts[p].entries); i++ {
				if x := l.parts[p].entries[i]; x.Unit != "" {
					if err := fn(x); err != nil {
						return err
					}
				}
				if i%7 == 6 && l.world.chance(3) { // the next page
					l.world.current.travel()
				}
			}
		}
		return nil
	})
}

func (l *simLedger) EntriesOf(_ context.Context, unit schemas.UnitID) (out []schemas.Entry, err error) {
	u, _ := l.town.election.Unit(unit)
	return out, l.world.current.read("entries of "+string(unit), func() error {
		for _, x := range l.parts[l.town.election.PartitionOf(u)].entries {
			if x.Unit == unit {
				out = append(out, x)
			}
		}
		return nil
	})
}

func (l *simLedger) Record(_ context.Context, x schemas.Entry) (record []byte, err error) {
	return record, l.world.current.read("record", func() error {
		p := l.parts[x.Partition]
		if x.Seq == 0 || x.Seq > uint64(len(p.records)) {
			return fmt.Errorf("partition %d has no entry %d", x.Partition, x.Seq)
		}
		record = slices.Clone(p.records[x.Seq-1])
		return nil
	})
}

func (l *simLedger) Submissions(ctx context.Context, unit schemas.UnitID) ([]schemas.SubmissionState, error) {
	entries, err := l.EntriesOf(ctx, unit)
	return ledger.States(entries), err
}

// size is how many entries there are.
func (l *simLedger) size() (n int) {
	for _, p := range l.parts {
		n += len(p.entries)
	}
	return n
}

type simView struct {
	ledger *simLedger
	heads  []ledger.Head
	rows   []ledger.Tally // of the heads' moment, where there is one
	// log, if set, is told where a reading begins, and returns who is told of
	// each entry that was taken.
	log func(after []uint64) func(schemas.Entry)
}

func (v *simView) Heads() []ledger.Head { return v.heads }

func (v *simView) Entries(_ context.Context, after []uint64, fn func(schemas.Entry, []byte) error) error {
	l := v.ledger
	taken := func(schemas.Entry) {}
	if v.log != nil {
		taken = v.log(after)
	}
	return l.world.current.read("entries", func() error {
		for p, head := range v.heads {
			from := uint64(0)
			if p < len(after) {
				from = after[p]
			}
			for seq := from; seq < head.Size; seq++ {
				x := l.parts[p].entries[seq]
				if err := fn(x, slices.Clone(l.parts[p].records[seq])); err != nil {
					return err
				}
				taken(x)
				if seq%5 == 4 && l.world.chance(4) {
					l.world.current.travel()
				}
				if l.world.befalls(faultRead) {
					return errDown // in the middle
				}
			}
		}
		return nil
	})
}

func (v *simView) Tallies(_ context.Context, counties []schemas.CountyIndex) ([]ledger.Tally, error) {
	out := make([]ledger.Tally, len(counties))
	return out, v.ledger.world.current.read("tallies", func() error {
		if v.rows != nil {
			for i, c := range counties {
				size := v.heads[v.ledger.town.election.Counties[c].Partition].Size
				out[i] = ledger.Tally{Row: slices.Clone(v.rows[c].Row), Size: size}
			}
			return nil
		}
		for i, c := range counties {
			out[i] = ledger.Tally{Row: slices.Clone(v.ledger.rows[c].Row), Size: v.ledger.rows[c].Size}
			if v.ledger.world.chance(10) {
				v.ledger.world.current.travel()
			}
		}
		return nil
	})
}

func (v *simView) Follow(_ context.Context, partitions []schemas.Partition) error {
	return v.ledger.world.current.read("heads again", func() error {
		if v.rows != nil { // a new moment for all
			v.ledger.headsInto(v.heads)
			v.keep()
			return nil
		}
		for _, p := range partitions {
			v.heads[p] = v.ledger.parts[p].head
		}
		return nil
	})
}

func (v *simView) Close() error { return nil }
